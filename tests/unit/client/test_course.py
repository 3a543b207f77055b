import numpy as np

from client.course import FIRST, Course, watching
from client.database import FILE

TOKEN = np.arange(6, dtype=np.float32)


def test_moments_lie_ever_further_apart(tmp_path):
    watch = watching(Course(tmp_path), "rex", "a")
    for forwards in range(16, 3000, 3):
        watch(forwards, TOKEN + forwards)
    moments = [stage.forwards for stage in Course(tmp_path).stages("rex")]
    assert moments[0] == 16
    assert all(FIRST * 2**i <= moment < FIRST * 2**i + 3 for i, moment in enumerate(moments[1:]))
    assert len(moments) == 7


def test_a_learning_taken_up_again_keeps_its_moments_and_another_one_replaces_them(tmp_path):
    course = Course(tmp_path)
    watching(course, "rex", "a")(16, TOKEN)
    watching(course, "rex", "a")(500, TOKEN)
    assert [stage.forwards for stage in course.stages("rex")] == [16, 500]
    watching(course, "rex", "b")(16, TOKEN)
    assert [stage.forwards for stage in course.stages("rex")] == [16]


def test_a_picture_hangs_where_its_moment_still_is(tmp_path):
    course = Course(tmp_path)
    course.note("rex", "a", 0, TOKEN)
    course.note("rex", "a", 60, TOKEN)
    first, second = course.bare("rex")
    assert (first.token == TOKEN).all()
    course.note("rex", "a", 60, TOKEN + 1)
    course.hang("rex", first, b"one")
    course.hang("rex", second, b"two")
    assert [stage.drawn for stage in course.stages("rex")] == [True, False]
    assert course.picture("rex", 0) == b"one"
    assert course.picture("rex", 60) is None
    assert course.picture("rex", 61) is None


def test_nothing_of_it_lies_open_and_forgetting_leaves_nothing(tmp_path):
    course = Course(tmp_path)
    course.note("rex", "a", 0, TOKEN)
    course.hang("rex", course.bare("rex")[0], b"a picture of a dog")
    data = (tmp_path / FILE).read_bytes()
    assert b"a picture of a dog" not in data
    assert TOKEN.tobytes() not in data
    course.forget("rex")
    assert course.stages("rex") == ()
