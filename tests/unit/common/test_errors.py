"""The tree at the top of common/errors.py is the tree in the code."""

from __future__ import annotations

import inspect
import re

import pytest

from common import errors

CLASSES = {name: item for name, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, Exception)}


def drawn_parents() -> dict[str, str]:
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        if found := re.match(r"^([│ ├└─]*)(\w+Error)\b", line):
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            parents[found[2]] = path[depth - 1] if depth else "Exception"
    return parents


def test_every_class_is_drawn_and_nothing_else():
    assert drawn_parents().keys() == CLASSES.keys()


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_hangs_where_it_is_drawn(name):
    assert CLASSES[name].__base__.__name__ == drawn_parents()[name]
