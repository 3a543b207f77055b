"""Concepts in prompts: by name, and how strongly."""

from __future__ import annotations

import pytest

from client.placeholder import proposed, said, word
from common.errors import ConfigError


@pytest.mark.parametrize(
    ("mention", "strength"), [("fox", 1), ("fox:0.6", 0.6), ("fox:.5", 0.5), ("fox:0", 0), ("fox:2", 2), ("fox:1", 1)]
)
def test_a_concept_is_said_as_strongly_as_asked(mention, strength):
    assert said(mention) == ("fox", strength)
    assert word(mention) == f"<{mention}>"


@pytest.mark.parametrize("wrong", ["", "loud", "-1", "2.1", "99", "nan", "1e0", "0.6:0.6", " 1", "²", "0.12345"])
def test_what_is_no_strength_is_refused_with_one_that_is(wrong):
    with pytest.raises(ConfigError, match=r"<fox:.*> has no strength .* from 0 to 2, as in <fox:0\.6>"):
        said(f"fox:{wrong}")


def test_a_name_that_is_none_is_no_word_at_any_strength():
    with pytest.raises(ConfigError, match="'My-Fox' is no name"):
        word("My-Fox:0.6")


def test_a_style_is_proposed_at_a_strength_that_can_be_said():
    assert [proposed("fox", kind) for kind in ("object", "taste", "style")] == ["fox", "fox", "fox:0.6"]
    assert said(proposed("fox", "style")) == ("fox", 0.6)
