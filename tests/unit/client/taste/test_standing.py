"""How it stands with a taste, and what goes when choices go: without a model."""

from __future__ import annotations

import sys
from dataclasses import replace
from subprocess import run

import numpy as np
import pytest
import torch

from client.choices import Choice, Choices, Recipe
from client.database import FILE
from client.forgetting import check_known, forget, in_words
from client.learn.subspace import Shape
from client.taste.belief import Belief, Tastes
from client.taste.looking import OpenPairs
from client.taste.standing import NAME, decided, is_stale, named, standing, take_back, unlearned
from client.taste.starting import STARTERS, prompts_for
from client.unfinished import checkpoint_of, is_begun
from client.vault import Concept, Vault
from common.errors import VaultError

MODEL, OTHER = "ab" * 32, "cd" * 32
PLAIN = Recipe(prompt="a house", seed=1, steps=2, guidance=1.0, backbone=MODEL)
REX = replace(PLAIN, prompt="a <rex>", tokens=(("rex", ((0.5, -1.25),)),))


def choose(home, recipe=PLAIN, picked="first"):
    return Choices(home).record(Choice(first=recipe, second=replace(recipe, seed=2), picked=picked))


def learn(home, backbone=MODEL):
    """Believe something after the choices made so far, without learning it."""
    shape = Shape(origin=torch.zeros(4), axes=torch.eye(4)[:2], rest=torch.zeros(4))
    belief = Belief(
        shape=shape, place=torch.zeros(2), precision=torch.eye(2), anchor=torch.zeros(4), token=torch.ones(4)
    )
    Tastes(home).keep(backbone, belief, named(decided(home, backbone)))


def concept(name=NAME, kind="taste"):
    zeros = np.zeros(4, np.float32)
    return Concept(
        name=name, kind=kind, class_word="", backbone=MODEL, anchor=zeros, token=zeros + 1, loss=0.5, forwards=9
    )


def test_who_only_looks_leaves_nothing(tmp_path):
    assert standing(tmp_path).choices == 0
    assert unlearned(tmp_path) == (0, "")
    assert not (tmp_path / FILE).exists()


def test_what_was_chosen_is_learned_until_something_changes(tmp_path):
    choose(tmp_path, picked="neither")
    assert unlearned(tmp_path) == (0, "")
    first = choose(tmp_path)
    assert unlearned(tmp_path)[0] == 1
    assert is_stale(tmp_path, MODEL)
    learn(tmp_path)
    assert not is_stale(tmp_path, MODEL)
    assert unlearned(tmp_path) == (0, "")
    found = standing(tmp_path)
    assert (found.choices, found.decided, found.known, found.learned) == (2, 1, True, True)
    second = choose(tmp_path, picked="second")
    assert is_stale(tmp_path, MODEL)
    assert "3 choices, 1 of them neither, not all learned yet" in standing(tmp_path).in_words
    take_back(tmp_path, second.number)
    assert standing(tmp_path).learned
    choose(tmp_path)
    take_back(tmp_path, first.number)
    assert not standing(tmp_path).known  # nothing of what it was learned from is there


def test_each_model_has_its_own_taste(tmp_path):
    choose(tmp_path)
    choose(tmp_path, replace(PLAIN, backbone=OTHER))
    learn(tmp_path)
    assert not is_stale(tmp_path, MODEL)
    assert is_stale(tmp_path, OTHER)
    assert not standing(tmp_path).learned
    learn(tmp_path, OTHER)
    assert standing(tmp_path).learned


def test_with_the_last_choice_goes_what_was_learned(tmp_path):
    only = choose(tmp_path)
    learn(tmp_path)
    Vault(tmp_path).save_concept(concept())
    assert take_back(tmp_path, only.number)
    assert Tastes(tmp_path).held(MODEL) is None
    assert Vault(tmp_path).listed() == []
    assert not take_back(tmp_path, only.number)


def test_forgetting_the_taste_takes_choices_pairs_beliefs_and_checkpoints(tmp_path):
    Vault(tmp_path).save_concept(concept("rex", "object"))
    choose(tmp_path)
    OpenPairs(tmp_path).keep((PLAIN, replace(PLAIN, seed=3)))
    learn(tmp_path)
    checkpoint_of(tmp_path, NAME, "x", np.zeros(1)).write_bytes(b"begun")
    assert forget(tmp_path, NAME) is None
    assert Choices(tmp_path).all() == []
    assert OpenPairs(tmp_path).all() == []
    assert Tastes(tmp_path).held(MODEL) is None
    assert not is_begun(tmp_path, NAME)
    assert [one.name for one in Vault(tmp_path).listed()] == ["rex"]
    assert "every choice" in in_words(NAME, None)
    with pytest.raises(VaultError, match="no concept"):
        check_known(tmp_path, NAME)


def test_forgetting_a_concept_takes_its_choices_and_the_taste_is_to_be_learned_anew(tmp_path):
    Vault(tmp_path).save_concept(concept("rex", "object"))
    choose(tmp_path)
    choose(tmp_path, REX)
    OpenPairs(tmp_path).keep((REX, replace(REX, seed=3)))
    learn(tmp_path)
    forget(tmp_path, "rex")
    assert [one.first.prompt for one in Choices(tmp_path).all()] == ["a house"]
    assert OpenPairs(tmp_path).all() == []
    assert is_stale(tmp_path, MODEL)


def test_a_taste_of_nothing_but_a_forgotten_concept_goes_with_it(tmp_path):
    Vault(tmp_path).save_concept(concept("rex", "object"))
    Vault(tmp_path).save_concept(concept())
    choose(tmp_path, REX)
    learn(tmp_path)
    forget(tmp_path, "rex")
    assert Tastes(tmp_path).held(MODEL) is None
    assert Vault(tmp_path).listed() == []


def test_open_pairs_come_back_as_they_were_and_are_sealed(tmp_path):
    pair = (REX, replace(REX, seed=2, taste=(0.125, 0.5)))
    number = OpenPairs(tmp_path).keep(pair)
    [found] = OpenPairs(tmp_path).all()
    assert (found.number, found.recipes) == (number, pair)
    assert b"<rex>" not in (tmp_path / FILE).read_bytes()
    OpenPairs(tmp_path).drop(number)
    assert OpenPairs(tmp_path).all() == []


def test_prompts_are_of_what_was_taught_in_turn_with_common_things(tmp_path):
    assert prompts_for(tmp_path) == list(STARTERS)
    for name, kind in (("rex", "object"), ("ink", "style"), (NAME, "taste")):
        Vault(tmp_path).save_concept(concept(name, kind))
    found = prompts_for(tmp_path)
    assert found[:4] == ["<rex>", STARTERS[0], "a house, <ink> style", STARTERS[1]]
    assert sorted(found) == sorted([*STARTERS, "<rex>", "a house, <ink> style"])


def test_who_asks_needs_no_model_library():
    program = "import sys, client.forgetting, client.taste.standing; sys.exit('torch' in sys.modules)"
    assert run([sys.executable, "-c", program], check=False).returncode == 0
