"""Values without quotes: `SET key=value`, `PASSWORD abc`, options of statements that are no queries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from mc_push_dagster.lineage.literals import Kind, Lexeme, Syntax

_SENSITIVE = re.compile(
    r"PASS(WORD|WD|PHRASE|CODE)?|PWD|SECRET|TOKEN|KEY|CREDENTIAL|SAS|AUTH|PRIVATE|BEARER|CONN(ECTION)?_?STR|URL|URI|DSN"
)
_TAKING = frozenset({"PASSWORD", "PASSWD", "PWD", "IDENTIFIED BY", "KEY_ID", "SESSION_TOKEN", "ACCESS_TOKEN"})
"""Words that a value follows without `=`."""
_GIVES = frozenset({"=", "=>", ":="})
_GIVES_IN_COPY = frozenset({*_GIVES, "AS"})
_PLAIN = frozenset({"NULL", "TRUE", "FALSE", "DISABLE", "NONE", "DEFAULT", "EXPIRE", "NEVER", "POLICY", "OPTION"})
_QUERIES = frozenset({"SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "MERGE", "FROM", "VALUES", "REPLACE", "PIVOT"})
NAMING = frozenset({"SEARCH_PATH", "SCHEMA", "CATALOG", "ROLE", "DATABASE", "CURRENT_SCHEMA", "DATASET_ID"})
"""Settings whose values are names."""
_BARE_COMMANDS = frozenset({"ADD", "LIST", "DELETE"})
_RESOURCES = frozenset({"JAR", "JARS", "FILE", "FILES", "ARCHIVE", "ARCHIVES"})


class Run(NamedTuple):
    """What stands for some lexemes, and the index after the last of them."""

    text: str
    end: int


def bare_values_from(found: Sequence[Lexeme], start: int, syntax: Syntax) -> int | None:
    """Where the rest of a statement is one value without quotes: after `SET x =`, `ADD JAR`."""
    first = found[start].value if start < len(found) else ""
    second = found[start + 1].value if start + 1 < len(found) else ""
    if first.startswith("ADD ") and start + 1 < len(found):
        return start + 1
    if first in _BARE_COMMANDS and second in _RESOURCES and start + 2 < len(found):
        return start + 2
    if first != "SET" or second in NAMING:
        return None
    for i in range(start + 1, len(found)):
        lexeme = found[i]
        if lexeme.source in (";", "("):
            return None
        if lexeme.source in ("=", ":=") or lexeme.value == "TO":
            return _value_start(found, i + 1, syntax)
    return None


def _value_start(found: Sequence[Lexeme], at: int, syntax: Syntax) -> int | None:
    if at >= len(found) or found[at].source in (";", "("):
        return None  # a query in parentheses is masked as a query is
    if syntax.settings_are_bare:
        return at
    for lexeme in found[at:]:
        if lexeme.source == ";":
            break
        if lexeme.source == "(":
            return None
    return at


def bare_value(found: Sequence[Lexeme], at: int, start: int) -> Run | None:
    """The value without quotes that starts at `at`, masked; None if there is none."""
    lexeme = found[at]
    if at <= start or lexeme.kind is Kind.TEXT or lexeme.source in ("(", ")", ",", ";", "["):
        return None
    first = found[start].value
    if first in _QUERIES or lexeme.value in _PLAIN or not _is_given(found, at, start, first):
        return None
    end = at + 1
    while end < len(found) and found[end].glued and found[end].source not in ("(", ")", ",", ";", "]"):
        end += 1
    return Run("'***'", end)


def _is_given(found: Sequence[Lexeme], at: int, start: int, first: str) -> bool:
    before = found[at - 1]
    if before.kind is Kind.WORD and before.value in _TAKING and found[at].source not in _GIVES:
        # A column may be called `password`: its type follows, in parentheses.
        return first in ("CREATE", "ALTER") and not any(x.value == "TABLE" for x in found[start + 1 : start + 5])
    if before.kind is Kind.WORD and _SENSITIVE.search(before.value) and found[at - 2].source in (",", "("):
        return first == "CREATE" and any(x.value == "SECRET" for x in found[start + 1 : start + 6])
    if before.value == "BY" and at - 2 > start and found[at - 2].value == "IDENTIFIED":
        return True
    gives = _GIVES_IN_COPY if first in ("COPY", "UNLOAD") else _GIVES
    if before.value not in gives or at - 2 < start:
        return False
    key = found[at - 2]
    return key.kind in (Kind.WORD, Kind.NAME, Kind.TEXT) and _SENSITIVE.search(key.value.upper()) is not None
