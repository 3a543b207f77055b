"""File names as they can be shown: on a terminal, in a log, on a page."""

from __future__ import annotations

JOINERS = "\u200c\u200d"
"""Zero-width (non-)joiners: Persian, Hindi and many emoji are spelled with them."""


def printable(name: str) -> str:
    r"""Return a name in any script as it is, and what would disturb a terminal as an escape.

    Escaped are control characters (a terminal obeys them), line ends, marks that reorder a line from right to left
    (the Trojan Source attack, arXiv:2111.00169), and bytes that are no text, which Python keeps as lone surrogates
    (PEP 383) and which cannot be printed: ``\xff``.
    """
    return "".join(c if c.isprintable() or c in JOINERS else _escaped(c) for c in name)


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
