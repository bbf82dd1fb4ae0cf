"""Display names: what of a name is shown, and when two look the same. Pure."""

from __future__ import annotations

import unicodedata

MAX_CHARACTERS = 64

_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {
    *map(chr, range(0x180B, 0x1810)),  # Mongolian variation selectors
    *map(chr, range(0xFE00, 0xFE10)),  # variation selectors
    *map(chr, range(0xE0100, 0xE01F0)),
}
"""Fillers, joiners and selectors that draw nothing although their category says letter, mark or symbol."""

_LEFT_OUT = ("Cc", "Cf", "Cs", "Co", "Cn")
"""Control characters, format characters (bidirectional overrides and zero-width ones), surrogates, private use."""

_MARKS_IN_A_ROW = 4
"""Combining marks on one letter; more of them climb over the names above."""


def visible_name(name: str) -> str:
    """`name` without control, bidirectional and invisible characters, white space as single blanks; may be empty."""
    kept: list[str] = []
    marks = 0
    for character in unicodedata.normalize("NFC", name):
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if character.isspace() or category in ("Zl", "Zp"):
            kept.append(" ")
        elif category not in _LEFT_OUT and character not in _UNSEEN and marks <= _MARKS_IN_A_ROW:
            kept.append(character)
    return " ".join("".join(kept).split())[:MAX_CHARACTERS].strip()


def sameness(name: str) -> str:
    """What two names have in common that a person takes for one: compatibility forms and case are levelled."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
