import re
import subprocess
import sys
import time
from dataclasses import replace
from html import escape

import numpy as np
import pytest

from client.activity import Activity, write_activity
from client.course import Course
from client.database import Database
from client.ledger import Contribution, Opening, append, writing
from client.vault import Vault
from client.web.house import House

PAGES = ("/", "/concepts", "/draw", "/choose", "/privacy", "/settings")
GIVEN = Contribution(
    round_id="0a" * 16, context="0b" * 32, operator="0c" * 32, kind="object", backbone="ab" * 32, prior_version=3,
    concept=1, called=128, fewest=86, colluders=12, length=2145, scale=1000.0, share_variance=250_000_000,
    modulus_bits=32, clip=4.0,
)  # fmt: skip


def book(home, *events):
    with writing(Database(home)) as rows:
        for event in events:
            append(rows, home, event)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_there_from_the_start(client, path):
    page = client.get(path)
    assert page.status_code == 200
    assert page.text.count("<h1") == 1
    assert 'aria-current="page"' in page.text


@pytest.mark.parametrize("path", [*PAGES, "/enter"])
def test_nothing_comes_from_elsewhere_and_no_script_or_style_is_inline(client, path):
    page = client.get(path).text
    assert not re.findall(r"(?:https?:)?//(?!www\.w3\.org)\S+", page)
    assert not re.findall(r"\son\w+=|\sstyle=|<style|javascript:", page)
    assert re.findall(r"<script[^>]*>", page) == ['<script src="/0123456789abcdef/static/shoal.js" defer>']


@pytest.mark.parametrize("path", PAGES)
def test_a_form_that_is_sent_before_the_script_is_there_puts_nothing_into_an_address(client, path):
    page = client.get(path).text
    forms = re.findall(r"<form[^>]*>", page)
    assert forms
    assert all('method="post"' in form for form in forms)
    assert client.post(path, data={"prompt": "a wish"}).status_code == 405


def test_the_first_look_says_what_to_do(client):
    page = client.get("/").text
    assert "Teach it something that is yours" in page
    assert "shoal daemon" in page


def test_what_it_learns_is_shown_with_its_curve(client, home):
    activity = Activity(
        doing="learning", reason="3 photos are new", concept="rex", forwards=120, total_forwards=2400,
        losses=(2.0, 1.5, 1.0), seconds_left=125,
        problems=("broken.jpg: it is cut short",),
    )  # fmt: skip
    write_activity(home, activity)
    page = client.get("/").text
    for told in (
        "rex",
        "3 photos are new",
        "120 of at most 2400",
        "2 minutes left",
        "from 2.0000 to 1.0000",
        "broken.jpg",
    ):
        assert told in page
    write_activity(home, replace(activity, doing="waiting", reason="on battery"))
    assert "On battery" in client.get("/").text
    client.post("/api/v1/pause")
    assert "Nothing happens until you resume" in client.get("/").text


def test_a_concept_is_shown_over_the_course_of_its_learning(client, house, home, fox):
    for forwards in (0, 60, 300):
        Course(home).note("my-fox", "a", forwards, fox.token * forwards)
    assert "Drawing the samples" in client.get("/concepts/my-fox").text
    end = time.monotonic() + 30
    while not all(stage.drawn for stage in Course(home).stages("my-fox")) and time.monotonic() < end:
        time.sleep(0.02)
    page = client.get("/concepts/my-fox").text
    for forwards in (0, 60, 300):
        assert f"/concepts/my-fox/{forwards}.png" in page
        assert client.get(f"/concepts/my-fox/{forwards}.png").content.startswith(b"\x89PNG")
    assert client.get("/concepts/my-fox/61.png").status_code == 404
    assert client.get("/concepts/nobody").status_code == 404


def test_nothing_is_drawn_while_it_is_learned(client, house, home, fox):
    Course(home).note("my-fox", "a", 0, fox.token)
    write_activity(home, Activity(doing="learning", reason="new photos", concept="my-fox"))
    client.get("/concepts/my-fox")
    assert house.studio.orders("course") == []


def test_the_ledger_is_shown_with_what_was_in_it(client, home):
    book(home, GIVEN, Opening(round_id=GIVEN.round_id, people=101), replace(GIVEN, round_id="1a" * 16, concept=2))
    page = client.get("/privacy").text
    for told in (
        "2145 numbers",
        "128 people",
        "opened, of 101 people",
        "not opened with this device",
        "2 contributions",
    ):
        assert told in page
    assert "2 contributions" in page
    # σ/s · √D = √250,000,000 / 1000 · √4096 = 15.81 · 64 = 1012, against S = √3
    assert "1.01e+03 long" in page
    assert "1.73 long" in page


def test_a_ledger_that_was_changed_is_told_of(client, home):
    book(home, GIVEN)
    (home / "ledger.receipt").write_text("11" * 32)
    page = client.get("/privacy")
    assert page.status_code == 500
    assert "lines are missing at its end" in page.text


def test_a_remedy_is_set_as_what_it_is(client, home, fox):
    write_activity(home, Activity(doing="waiting", reason="you paused it: `shoal resume` goes on", problems=("a `b`",)))
    page = client.get("/").text
    assert "<h1>You paused it</h1>" in page
    assert "<code>shoal resume</code> goes on" in page
    assert "a <code>b</code>" in page


def test_what_a_person_writes_is_never_markup(client, home, fox):
    evil = "<script>alert(1)</script>: `<script>alert(2)</script>`"
    write_activity(home, Activity(doing="waiting", reason=evil, problems=(evil,)))
    client.post("/api/v1/drawings", json={"prompt": "<img src=x onerror=alert(1)> <b>"})
    client.post("/api/v1/drawings", json={"prompt": "a & <b >"})
    for path in ("/", "/draw"):
        assert "<script>alert" not in client.get(path).text
    assert "a &amp; &lt;b &gt;" in client.get("/draw").text


@pytest.mark.parametrize(
    ("kind", "hint"), [("object", "<my-fox> on a beach"), ("style", "a house, <my-fox:0.6> style")]
)
def test_an_empty_sentence_hints_at_what_the_first_concept_is_for(kind, hint, client, home, fox):
    Vault(home).save_concept(replace(fox, kind=kind, class_word="" if kind == "style" else fox.class_word))
    assert f'placeholder="{escape(hint)}"' in client.get("/draw").text


def test_a_style_is_proposed_more_softly_than_it_was_learned(client, home, fox):
    ink = replace(fox, name="my-ink", kind="style", class_word="")
    Vault(home).save_concept(ink)
    chips = re.findall(r'data-insert="([^"]*)"', client.get("/draw").text)
    assert sorted(chips) == ["&lt;my-fox&gt;", "&lt;my-ink:0.6&gt;"]
    assert "a house, &lt;my-ink:0.6&gt; style</textarea>" in client.get("/draw?concept=my-ink").text
    assert "<code>a house, &lt;my-ink:0.6&gt; style</code>" in client.get("/concepts/my-ink").text
    assert "<code>&lt;my-fox&gt;</code>" in client.get("/concepts/my-fox").text


def test_the_page_needs_no_model_library():
    code = "import sys, client.web.serving; print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_figures_stay_in_their_boxes():
    from client.web.figures import curve

    assert curve((1.0,)) is None
    assert curve((float("inf"), 1.0)) is None
    for values in ((2.0, 1.0), (1.0, 1.0), tuple(np.linspace(3, 1, 60))):
        points = [tuple(map(float, pair.split(","))) for pair in curve(values).points.split()]
        assert all(0 <= x <= 100 and 0 <= y <= 100 for x, y in points)
        assert points[0][1] <= points[-1][1]


def test_a_house_has_its_own_pairs(home, sessions, studio):
    assert House(home=home, studio=studio, sessions=sessions, port=1, place="/p").pairs is not None
