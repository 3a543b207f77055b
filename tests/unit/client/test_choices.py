from dataclasses import replace

import pytest

from client.choices import Choice, Choices, Recipe
from client.database import FILE
from common.errors import VaultError

FIRST = Recipe(
    prompt="a <rex> in the snow", seed=1, steps=20, guidance=4.0, backbone="ab" * 32, tokens=(("rex", ((0.5, -1.25),)),)
)
SECOND = replace(FIRST, seed=2)


def test_choices_come_back_as_they_were(tmp_path):
    kept = [
        Choices(tmp_path).record(Choice(first=FIRST, second=SECOND, picked=one))
        for one in ("first", "second", "neither")
    ]
    assert Choices(tmp_path).all() == kept
    assert [one.number for one in kept] == [1, 2, 3]


def test_one_is_taken_back_for_good_and_its_number_is_not_used_again(tmp_path):
    choices = Choices(tmp_path)
    first = choices.record(Choice(first=FIRST, second=SECOND, picked="first"))
    assert choices.undo(first.number)
    assert not choices.undo(first.number)
    assert choices.record(Choice(first=FIRST, second=SECOND, picked="second")).number == 2


def test_forgetting_a_concept_takes_its_choices(tmp_path):
    choices = Choices(tmp_path)
    choices.record(Choice(first=FIRST, second=SECOND, picked="first"))
    plain = replace(FIRST, prompt="a house", tokens=())
    choices.record(Choice(first=plain, second=replace(plain, seed=9), picked="first"))
    assert choices.forget("rex") == 1
    assert [one.first.prompt for one in choices.all()] == ["a house"]


@pytest.mark.parametrize(
    "second", [FIRST, replace(SECOND, prompt="a cat"), replace(SECOND, guidance=5.0), replace(SECOND, tokens=())]
)
def test_a_choice_is_between_two_seeds_of_one_recipe(second):
    with pytest.raises(VaultError, match="draw a pair anew"):
        Choice(first=FIRST, second=second, picked="first")


def test_another_word_is_refused():
    with pytest.raises(VaultError, match="neither"):
        Choice(first=FIRST, second=SECOND, picked="both")


def test_prompts_and_tokens_are_sealed(tmp_path):
    Choices(tmp_path).record(Choice(first=FIRST, second=SECOND, picked="first"))
    data = (tmp_path / FILE).read_bytes()
    assert b"in the snow" not in data
    assert b"-1.25" not in data
