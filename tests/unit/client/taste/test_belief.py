from __future__ import annotations

import sqlite3

import pytest
import torch

from client.database import FILE
from client.learn.subspace import Shape
from client.taste.belief import Belief, Tastes
from client.taste.standing import forget_beliefs, made_of
from common.errors import VaultError

BACKBONE = "ab" * 32


def belief():
    origin = torch.tensor([1.0, 2.0, 3.0])
    shape = Shape(origin=origin, axes=torch.eye(3)[:2], rest=torch.zeros(0, 3))
    precision = torch.tensor([[4.0, 1.0], [1.0, 2.0]])
    return Belief(shape=shape, place=torch.tensor([0.5, -1.0]), precision=precision, anchor=origin, token=origin + 1)


def test_a_belief_comes_back_as_it_was(tmp_path):
    Tastes(tmp_path).keep(BACKBONE, belief(), "digest")
    found = Tastes(tmp_path).held(BACKBONE)
    for name in ("place", "precision", "anchor", "token"):
        assert (getattr(found, name) == getattr(belief(), name)).all()
    assert (found.shape.axes == belief().shape.axes).all()
    assert made_of(tmp_path, BACKBONE) == "digest"
    assert Tastes(tmp_path).held("cd" * 32) is None


def test_a_later_belief_takes_its_place_and_forgetting_takes_all(tmp_path):
    for digest in ("one", "two"):
        Tastes(tmp_path).keep(BACKBONE, belief(), digest)
    assert made_of(tmp_path, BACKBONE) == "two"
    assert forget_beliefs(tmp_path)
    assert Tastes(tmp_path).held(BACKBONE) is None
    assert not forget_beliefs(tmp_path)


def test_it_lies_sealed_on_the_disk(tmp_path):
    Tastes(tmp_path).keep(BACKBONE, belief(), "digest")
    data = (tmp_path / FILE).read_bytes()
    assert belief().token.numpy().tobytes() not in data
    assert b"precision" not in data


def test_a_damaged_one_says_what_to_do(tmp_path):
    Tastes(tmp_path).keep(BACKBONE, belief(), "digest")
    with sqlite3.connect(tmp_path / FILE) as rows:
        rows.execute("UPDATE tastes SET belief = substr(belief, 1, 40)")
    with pytest.raises(VaultError):
        Tastes(tmp_path).held(BACKBONE)


def test_samples_are_spread_as_the_belief_is_unsure():
    found = belief().sampled(20_000, torch.Generator().manual_seed(0)) - belief().shape.token(belief().place)
    assert found.mean(dim=0).abs().max() < 0.02
    assert torch.allclose(torch.cov(found[:, :2].T), torch.linalg.inv(belief().precision), atol=0.02)
    assert (found[:, 2] == 0).all()
