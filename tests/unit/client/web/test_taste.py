"""The taste on the page: pairs that outlast it, learning at a click, drawing with it. The painter is a made-up one."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from client.activity import Activity, write_activity
from client.choices import Choice, Choices, Recipe
from client.control import pause, resume
from client.daemon.subject import TASTE
from client.taste.looking import OpenPairs
from client.web.house import House
from client.web.studio import Sheet, Wanted

RECIPE = Recipe(prompt="a house", seed=1, steps=2, guidance=1.0, backbone="ab" * 32, taste=(0.5,))


@pytest.fixture
def chosen(home):
    Choices(home).record(Choice(first=RECIPE, second=replace(RECIPE, seed=2), picked="first"))


@pytest.fixture
def begun(house):
    """Learnings that the page began: no process."""
    found = []

    class Pupil:
        ended = is_learned = is_stopping = False
        forwards, total, problem = 30, 120, ""

        def stop(self):
            self.is_stopping = True

        def end(self):
            self.ended = True

    def begin(subject, choices, **how):
        found.append((subject, choices, how))
        return Pupil()

    house.lessons._begin = begin
    return found


def drawn_pair(house):
    end = time.monotonic() + 60
    while house.pairs.current().state != "done" and time.monotonic() < end:
        time.sleep(0.05)
    order = house.pairs.current()
    assert order.state == "done"
    return order


def test_the_vaults_key_goes_to_what_draws_pairs_and_to_nothing_else(studio, home):
    sheet = Sheet(prompt="a house", seeds=(1,))
    assert studio._vault(Wanted(sheets=(sheet,))) == {}
    assert studio._vault(Wanted(sheets=(sheet,), purpose="course")) == {}
    for wanted in (Wanted(sheets=(sheet,), purpose="pair"), Wanted(sheets=(sheet,), strength=0.0)):
        assert studio._vault(wanted)["home"] == str(home)
        assert len(studio._vault(wanted)["key"]) > 64


def test_a_pair_keeps_what_each_picture_was_drawn_with(client, house, home):
    order = drawn_pair(house)
    client.post("/api/v1/choices", json={"pair": order.number, "picked": "first"})
    [choice] = Choices(home).all()
    assert [choice.first.taste, choice.second.taste] == [(float(one.seed % 7),) for one in order.pictures]
    assert [choice.first.seed, choice.second.seed] == [one.seed for one in order.pictures]


def test_a_pair_that_is_looked_at_outlasts_the_page(client, house, home, sessions, studio):
    order = drawn_pair(house)
    recipes = house.pairs._recipes(order)
    assert recipes in [pair.recipes for pair in OpenPairs(home).all()]
    for old in list(studio._orders):
        studio.drop(old)  # as the end of the process would
    again = House(home=home, studio=studio, sessions=sessions, port=8719, place="/p")
    shown = drawn_pair(again)
    assert again.pairs._recipes(shown) == recipes
    assert shown.wanted.tastes == tuple(one.taste for one in recipes)
    kept = again.pairs.choose(shown.number, "second")
    assert (kept.first, kept.second) == recipes
    assert recipes not in [pair.recipes for pair in OpenPairs(home).all()]


def test_a_pair_that_was_judged_elsewhere_is_shown_no_longer(client, house, home):
    order = drawn_pair(house)
    OpenPairs(home).clear()
    assert drawn_pair(house).number != order.number


def test_another_sentence_forgets_the_pairs_that_were_open(client, house, home):
    drawn_pair(house)
    assert OpenPairs(home).all()
    client.put("/api/v1/pair", json={"prompt": "a lighthouse"})
    assert OpenPairs(home).all() == []
    assert drawn_pair(house).wanted.sheets[0].prompt == "a lighthouse"


def test_it_says_how_it_stands(client, house, home, chosen):
    found = client.get("/api/v1/taste").json()
    assert (found["choices"], found["decided"], found["learned"], found["learning"]) == (1, 1, False, False)
    assert found["told"].startswith("1 choice, not learned yet")
    page = client.get("/choose").text
    assert "1 choice, not learned yet" in page
    assert "Learn my taste now" in page
    assert "Draw with my taste" not in page


def test_it_is_learned_at_a_click_once_at_a_time(client, house, home, chosen, begun):
    answer = client.post("/api/v1/taste/learning")
    assert (answer.status_code, answer.json()["learning"]) == (202, True)
    [(subject, choices, how)] = begun
    assert (subject, choices.count, how["home"]) == (TASTE, 1, home)
    assert client.post("/api/v1/taste/learning").status_code == 400
    assert 'value="0.250"' in client.get("/choose").text
    assert client.delete("/api/v1/taste/learning").status_code == 204
    assert house.lessons.pupil.is_stopping
    house.lessons.pupil.ended = True
    assert client.get("/api/v1/taste").json()["problem"] == ""


def test_a_learning_that_failed_says_why(client, house, chosen, begun):
    client.post("/api/v1/taste/learning")
    house.lessons.pupil.ended, house.lessons.pupil.problem = True, "the model is missing: name one with --model"
    assert "the model is missing" in client.get("/choose").text
    assert client.post("/api/v1/taste/learning").status_code == 202


@pytest.mark.parametrize("why", ["nothing is chosen", "paused", "the daemon does"])
def test_what_cannot_be_learned_now_says_what_to_do(client, home, begun, why, request):
    if why != "nothing is chosen":
        request.getfixturevalue("chosen")
    if why == "paused":
        pause(home)
    if why == "the daemon does":
        write_activity(home, Activity(doing="learning", reason="8 choices", concept="taste"))
    answer = client.post("/api/v1/taste/learning")
    assert answer.status_code == 400
    told = {"nothing is chosen": "choose between some", "paused": "resume first", "the daemon does": "already"}
    assert told[why] in answer.json()["detail"]
    assert begun == []
    resume(home)


def test_drawing_with_the_taste_is_asked_for(client, house):
    client.post("/api/v1/drawings", json={"prompt": "a house", "count": 1, "taste": True, "strength": 0.5})
    client.post("/api/v1/drawings", json={"prompt": "a house", "count": 1})
    plain, tasteful = house.studio.orders("drawing")
    assert (tasteful.wanted.strength, plain.wanted.strength) == (0.5, None)
    assert client.post("/api/v1/drawings", json={"prompt": "a", "strength": 11}).status_code == 422
    page = client.get("/draw?taste=1").text
    assert 'name="taste" data-as="boolean" checked' in page


def test_forgetting_the_taste(client, home, chosen):
    assert client.delete("/api/v1/concepts/taste").status_code == 204
    assert client.get("/api/v1/taste").json()["choices"] == 0
    assert client.delete("/api/v1/concepts/taste").status_code == 404


def test_what_is_learned_now_is_called_by_its_name(client, home):
    write_activity(home, Activity(doing="learning", reason="8 choices", concept="taste"))
    assert "<h1>Your taste</h1>" in client.get("/").text
