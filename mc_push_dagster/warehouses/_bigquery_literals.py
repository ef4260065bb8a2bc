"""Reads the GoogleSQL literals that TABLE_OPTIONS gives as option values: strings, arrays and structs.

Source: GoogleSQL reference, "Lexical structure and syntax", sections on string literals and escape sequences.
"""

from __future__ import annotations

import re
from typing import TypeAlias

Literal: TypeAlias = "str | list[Literal] | tuple[Literal, ...] | None"

_STRING = re.compile(
    r"""(?P<raw>[rR]?)(?P<quote>'''|\"\"\"|'|")(?P<body>(?:\\.|(?!(?P=quote)).)*)(?P=quote)""", re.DOTALL
)
_BARE = re.compile(r"[A-Za-z0-9_.+-]+")
_ESCAPE = re.compile(r"\\(?:[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_SINGLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_SELF = set("\\?\"'`\n")


def literal(text: str) -> Literal:
    """Return the value of a literal: strings as they are, NULL as None, other scalars as their text.

    Raises:
        ValueError: if `text` is not one whole literal.
    """
    value, place = _value(text, _blank(text, 0))
    if _blank(text, place) != len(text):
        raise ValueError(f"no literal: something follows at {place}")
    return value


def _value(text: str, place: int) -> tuple[Literal, int]:
    if found := _STRING.match(text, place):
        body = found["body"]
        return (body if found["raw"] else _ESCAPE.sub(_unescaped, body)), found.end()
    if text.startswith("[", place):
        items, end = _items(text, place + 1, "]")
        return items, end
    if text.startswith("(", place):
        items, end = _items(text, place + 1, ")")
        return tuple(items), end
    bare = _BARE.match(text, place)
    if bare is None:
        raise ValueError(f"no literal at {place}")
    word, end = bare[0], bare.end()
    if word.upper() == "STRUCT":
        start = _blank(text, end)
        if not text.startswith("(", start):
            raise ValueError(f"no struct at {place}")
        return _value(text, start)
    return (None if word.upper() == "NULL" else word), end


def _items(text: str, place: int, close: str) -> tuple[list[Literal], int]:
    items: list[Literal] = []
    place = _blank(text, place)
    while not text.startswith(close, place):
        if items:
            if not text.startswith(",", place):
                raise ValueError(f"no comma at {place}")
            place = _blank(text, place + 1)
        value, place = _value(text, place)
        items.append(value)
        place = _blank(text, place)
    return items, place + 1


def _blank(text: str, place: int) -> int:
    while place < len(text) and text[place].isspace():
        place += 1
    return place


def _unescaped(found: re.Match[str]) -> str:
    hexadecimal = found[1] or found[2] or found[3]
    if hexadecimal:
        return chr(int(hexadecimal, 16))
    if found[4]:
        return chr(int(found[4], 8))
    if found[5] in _SINGLE:
        return _SINGLE[found[5]]
    if found[5] in _SELF:
        return found[5]
    raise ValueError(f"unknown escape: \\{found[5]}")
