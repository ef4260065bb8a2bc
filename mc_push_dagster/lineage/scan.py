"""Table names by keywords alone, for text that could not be parsed in time, or at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sqlglot import Token, TokenType

from mc_push_dagster.lineage.commands import name_at
from mc_push_dagster.lineage.names import Name
from mc_push_dagster.lineage.reader import Reader
from mc_push_dagster.lineage.steps import Flow

_NAME = re.compile(r"(?=.*\w)[\w#$@{}][\w\-#$@{}*. ]*")
_NOT_NAMES = frozenset(["SELECT", "VALUES", "LATERAL", "UNNEST", "TABLE", "FLATTEN", "WITH", "("])
_ENDS_FROM = frozenset({"SELECT", "WHERE", "BY", "HAVING", "SET", "VALUES", "LIMIT", "QUALIFY", "WINDOW"})
_BACK = 200
_USES = ("MERGE", "DELETE")
"""USING names a table in these only: in CREATE VIEW it is a file format, after JOIN a list of columns."""
_WRITES = {
    "INSERT": ("INTO", "OVERWRITE", "TABLE"),
    "MERGE": ("INTO",),
    "CREATE": ("TABLE", "VIEW"),
    "REPLACE": ("INTO",),
    "UPDATE": (),
}


def scanned(tokens: Sequence[Token], reader: Reader, view: Name | None = None) -> Iterator[Flow]:
    """The flow of one statement by its keywords: the first table written, all tables after FROM, JOIN and USING."""
    words = [t.text.upper() if t.token_type is not TokenType.IDENTIFIER else "" for t in tokens]
    target, start = _written(tokens, words, reader)
    ctes = {
        tokens[i].text.lower()
        for i in range(len(tokens) - 2)
        if words[i + 1] == "AS" and tokens[i + 2].token_type is TokenType.L_PAREN
    }
    first = next((w for w in words if w in (*_WRITES, *_USES)), "")
    reads: dict[Name, None] = {}
    for i in range(start, len(tokens)):
        if words[i] not in ("FROM", "JOIN", "USING", ",") or (words[i] == "USING" and first not in _USES):
            continue
        if (words[i] == "," and not _in_from(words, i)) or words[i : i + 2] == ["USING", "("]:
            continue
        parts, _ = _plain_name(tokens, i + 1, reader)
        if parts and not (len(parts) == 1 and parts[0].lower() in ctes):
            reads[reader.locate(parts).name] = None
    destination = view or (reader.locate(target).name if target else None)
    if destination is not None or reads:
        yield Flow(destination=destination, reads=tuple(reads), resolved=0.0, tables_only=True)


def _written(tokens: Sequence[Token], words: Sequence[str], reader: Reader) -> tuple[Name, int]:
    for i, word in enumerate(words):
        if word not in _WRITES:
            continue
        at = i + 1
        if word == "CREATE":
            at = next((j + 1 for j in range(i, min(i + 8, len(words))) if words[j] in _WRITES[word]), 0)
            if not at:
                return (), 0
        while at < len(words) and words[at] in _WRITES[word]:
            at += 1
        parts, after = _plain_name(tokens, at, reader)
        return parts, after
    return (), 0


def _plain_name(tokens: Sequence[Token], index: int, reader: Reader) -> tuple[Name, int]:
    while index < len(tokens) and tokens[index].token_type is TokenType.L_PAREN:
        index += 1
    if index < len(tokens) and (
        tokens[index].text.upper() in _NOT_NAMES or not _NAME.fullmatch(tokens[index].text.strip('`"'))
    ):
        return (), index
    parts, after = name_at(tokens, index, reader)
    if after < len(tokens) and tokens[after].token_type is TokenType.L_PAREN:
        return (), after  # a function
    return parts, after


def _in_from(words: Sequence[str], index: int) -> bool:
    """True if the comma at `index` parts two items of a FROM clause."""
    level = 0
    for i in range(index - 1, max(index - _BACK, -1), -1):
        level += (words[i] == ")") - (words[i] == "(")
        if level < 0 or (level == 0 and words[i] in _ENDS_FROM):
            return False
        if level == 0 and words[i] == "FROM":
            return True
    return False
