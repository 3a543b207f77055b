import time

import pytest

from client.activity import Activity, write_activity
from client.choices import Choices
from client.control import is_paused, watched
from client.course import Course
from client.vault import Vault

PATIENCE = 30


def until_over(client, number):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = client.get(f"/api/v1/drawings/{number}").json()
        if found["state"] not in {"waiting", "drawing"}:
            return found
        time.sleep(0.02)
    raise AssertionError(found)


def test_it_says_why_nothing_happens(client):
    found = client.get("/api/v1/activity").json()
    assert found["running"] is False
    assert "shoal daemon" in found["reason"]


def test_it_says_what_happens(client, home):
    write_activity(
        home, Activity(doing="learning", reason="3 photos are new", concept="rex", forwards=7, losses=(2.0, 1.0))
    )
    found = client.get("/api/v1/activity").json()
    assert (found["running"], found["doing"], found["concept"], found["losses"]) == (
        True,
        "learning",
        "rex",
        [2.0, 1.0],
    )


def test_pause_and_resume(client, home):
    client.post("/api/v1/pause")
    assert is_paused(home)
    assert client.get("/api/v1/activity").json()["paused"]
    client.post("/api/v1/resume")
    assert not is_paused(home)


def test_a_folder_is_watched_and_no_longer(client, home, tmp_path):
    (tmp_path / "photos").mkdir()
    folder = {"folder": str(tmp_path / "photos"), "name": "rex", "class_word": "dog"}
    assert client.post("/api/v1/folders", json=folder).status_code == 204
    assert [one.name for one in watched(home)] == ["rex"]
    assert client.get("/api/v1/folders").json() == [folder | {"kind": "object"}]
    assert client.delete("/api/v1/folders/rex").status_code == 204
    assert watched(home) == ()
    assert client.delete("/api/v1/folders/rex").status_code == 404


def test_what_cannot_be_watched_is_refused_with_a_remedy(client, tmp_path):
    answer = client.post("/api/v1/folders", json={"folder": str(tmp_path / "none"), "name": "rex", "class_word": "dog"})
    assert answer.status_code == 400
    assert "make it" in answer.json()["detail"]
    answer = client.post("/api/v1/folders", json={"folder": str(tmp_path), "name": "Rex!", "class_word": "dog"})
    assert answer.status_code == 422
    assert "name" in answer.json()["detail"]


def test_conditions_change_one_by_one(client):
    assert client.patch("/api/v1/conditions", json={"hours": "22:00-07:00"}).status_code == 204
    assert client.patch("/api/v1/conditions", json={"on_power": False}).status_code == 204
    found = client.get("/api/v1/conditions").json()
    assert (found["hours"], found["on_power"], found["unmetered"]) == ("22:00-07:00", False, True)
    assert client.patch("/api/v1/conditions", json={"hours": "at night"}).status_code == 400
    assert client.patch("/api/v1/conditions", json={"at_home": True}).status_code == 422


def test_budgets_and_withdrawal(client):
    assert client.patch("/api/v1/privacy/budget", json={"central": 2.0}).status_code == 204
    assert client.get("/api/v1/privacy").json()["budget"]["central"] == 2.0
    assert client.post("/api/v1/privacy/withdrawal").status_code == 204
    assert client.get("/api/v1/privacy").json()["budget"] is None
    assert client.patch("/api/v1/privacy/budget", json={"central": -1.0}).status_code == 422


def test_a_drawing_comes_picture_by_picture(client):
    order = client.post("/api/v1/drawings", json={"prompt": "a house", "count": 2, "seed": 5})
    assert order.status_code == 202
    done = until_over(client, order.json()["number"])
    assert (done["state"], done["share"]) == ("done", 1.0)
    assert [one["seed"] for one in done["pictures"]] == [5, 6]
    picture = client.get(f"/pictures/{done['pictures'][0]['key']}.png")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    assert "house" not in str(picture.url)


@pytest.mark.parametrize(("prompt", "told"), [("refuse", "--model"), ("crash", "try fewer")])
def test_a_drawing_that_fails_says_what_to_do(client, prompt, told):
    done = until_over(client, client.post("/api/v1/drawings", json={"prompt": prompt}).json()["number"])
    assert done["state"] == "failed"
    assert told in done["problem"]


def test_a_drawing_can_be_stopped(client):
    number = client.post("/api/v1/drawings", json={"prompt": "slow"}).json()["number"]
    assert client.delete(f"/api/v1/drawings/{number}").status_code == 204
    assert until_over(client, number)["state"] == "stopped"
    after = client.post("/api/v1/drawings", json={"prompt": "a house", "count": 1}).json()["number"]
    assert until_over(client, after)["state"] == "done"


def test_too_many_at_once_are_refused(client):
    answers = [client.post("/api/v1/drawings", json={"prompt": "slow"}).status_code for _ in range(9)]
    assert answers == [202] * 8 + [400]


def test_an_unknown_concept_is_refused(client):
    answer = client.post("/api/v1/drawings", json={"prompt": "a <nobody>"})
    assert answer.status_code == 400
    assert "shoal concepts" in answer.json()["detail"]


def current_pair(client, house):
    client.get("/choose")
    end = time.monotonic() + PATIENCE
    while house.pairs.current().state != "done" and time.monotonic() < end:
        time.sleep(0.02)
    return house.pairs.current().number


def test_a_choice_is_kept_as_two_recipes_and_can_be_taken_back(client, house, home, fox):
    number = current_pair(client, house)
    kept = client.post("/api/v1/choices", json={"pair": number, "picked": "second"})
    assert kept.status_code == 201
    (choice,) = Choices(home).all()
    assert choice.picked == "second"
    assert choice.first.prompt == choice.second.prompt == "<my-fox>"
    assert choice.first.seed != choice.second.seed
    assert choice.first.tokens == (("my-fox", (tuple(fox.token.tolist()),)),)
    assert house.pairs.current().number != number
    assert client.post("/api/v1/choices", json={"pair": number, "picked": "first"}).status_code == 400
    assert client.delete(f"/api/v1/choices/{kept.json()['number']}").status_code == 204
    assert Choices(home).all() == []
    assert client.delete(f"/api/v1/choices/{kept.json()['number']}").status_code == 404


def test_a_pair_is_judged_when_both_pictures_are_there(client, house):
    client.put("/api/v1/pair", json={"prompt": "slow"})
    number = house.pairs.current().number
    assert client.post("/api/v1/choices", json={"pair": number, "picked": "first"}).status_code == 400
    assert client.get("/api/v1/choices").json() == []


def test_pairs_of_a_sentence_of_ones_own(client, house):
    client.get("/choose")
    assert client.put("/api/v1/pair", json={"prompt": "a lighthouse"}).status_code == 204
    assert house.pairs.current().wanted.sheets[0].prompt == "a lighthouse"
    assert client.put("/api/v1/pair", json={"prompt": "<nobody>"}).status_code == 400


def test_forgetting_takes_everything_along(client, house, home, fox, tmp_path):
    Course(home).note("my-fox", "a", 0, fox.token)
    client.post("/api/v1/choices", json={"pair": current_pair(client, house), "picked": "first"})
    (tmp_path / "photos").mkdir()
    client.post("/api/v1/folders", json={"folder": str(tmp_path / "photos"), "name": "my-fox", "class_word": "animal"})
    assert client.delete("/api/v1/concepts/my-fox").status_code == 204
    assert Vault(home).listed() == []
    assert Course(home).stages("my-fox") == ()
    assert Choices(home).all() == []
    assert watched(home) == ()
    assert client.delete("/api/v1/concepts/my-fox").status_code == 404


def test_the_description_is_complete(client):
    found = client.get("/api/v1/openapi.json").json()
    assert found["openapi"].startswith("3.")
    assert "/api/v1/drawings" in found["paths"]
    assert all("401" in what["responses"] for path in found["paths"].values() for what in path.values())
