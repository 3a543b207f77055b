from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.photos.names import printable


@pytest.mark.parametrize(
    "name", ["Rex am Strand.jpg", "собака.jpg", "犬.heic", "کلبی‌من.png", "כלב.jpg", "👩‍🚀.png", "e\u0301.jpg"]
)
def test_a_name_in_any_script_stays_as_it_is(name):
    assert printable(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1b[2Jb.jpg", r"a\x1b[2Jb.jpg"),
        ("a\nb.jpg", r"a\nb.jpg"),
        ("a\u202egpj.exe", r"a\u202egpj.exe"),
        (os.fsdecode(b"caf\xe9.jpg"), r"caf\xe9.jpg"),
        ("\ud800.jpg", r"\ud800.jpg"),
        ("\U000e0001.jpg", r"\U000e0001.jpg"),
    ],
)
def test_what_would_disturb_a_terminal_is_escaped(name, shown):
    assert printable(name) == shown


@given(st.text(st.characters(codec=None)))
def test_whatever_a_name_holds_it_can_be_printed(name):
    printable(name).encode()
    assert "\x1b" not in printable(name)
