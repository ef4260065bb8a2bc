"""Work on tokens, before any parsing: statements of a script, long lists made short, nesting measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from sqlglot import Token, TokenType

Tokens = Sequence[Token]

_VALUE = frozenset({TokenType.NUMBER, TokenType.STRING, TokenType.NULL, TokenType.TRUE, TokenType.FALSE})
_IN_LIST = _VALUE | {TokenType.COMMA, TokenType.DASH}
_OPENING = frozenset({TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE})
_CLOSING = frozenset({TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END})
_UNARY = frozenset({TokenType.NOT, TokenType.DASH, TokenType.TILDE, TokenType.PLUS})
_PIVOTS = frozenset({TokenType.PIVOT, TokenType.UNPIVOT})
_TYPES = frozenset({TokenType.ARRAY, TokenType.STRUCT, TokenType.MAP})
_SHORT = 64


def split(tokens: Tokens) -> Iterator[list[Token]]:
    """The token runs between semicolons, without empty ones."""
    chunk: list[Token] = []
    for token in tokens:
        if token.token_type is TokenType.SEMICOLON:
            if chunk:
                yield chunk
            chunk = []
        else:
            chunk.append(token)
    if chunk:
        yield chunk


def depth(tokens: Tokens) -> int:
    """An upper bound of how deep the syntax nests; a recursive parser fails on what is deep, a compiled one crashes."""
    level = deepest = run = 0
    generic = 0
    previous: TokenType | None = None
    for token in tokens:
        kind = token.token_type
        if kind in _OPENING:
            level += 1
        elif kind in _CLOSING and level:
            level -= 1
        elif kind is TokenType.LT and previous in _TYPES:
            generic += 1
        elif kind is TokenType.GT and generic:
            generic -= 1
        run = run + 1 if kind in _UNARY else 0
        deepest = max(deepest, level + generic + run)
        previous = kind
    return deepest


def shortened(tokens: list[Token]) -> list[Token]:
    """The same statement with each long list of constants cut to its first: no lineage hangs on the others."""
    if len(tokens) < _SHORT:
        return tokens
    kept: list[Token] = []
    pivots = any(t.token_type in _PIVOTS for t in tokens)
    i, end = 0, len(tokens)
    while i < end:
        token = tokens[i]
        kept.append(token)
        i += 1
        if token.token_type is TokenType.VALUES:
            i = _first_row(tokens, i, kept)
        elif token.token_type is TokenType.L_BRACKET or (
            token.token_type is TokenType.L_PAREN and not pivots and _after_in(tokens, i - 2)
        ):
            stop = _constants_end(tokens, i)
            if stop < end and stop - i > 2 and tokens[stop].token_type in (TokenType.R_PAREN, TokenType.R_BRACKET):
                first = next(j for j in range(i, stop) if tokens[j].token_type is not TokenType.DASH)
                kept.extend(tokens[i : first + 1])
                i = stop
    return kept


def plain_structs(tokens: list[Token]) -> list[Token]:
    """The same statement with `STRUCT (` as a function's name instead of a type's."""
    changed = [
        i
        for i, (token, after) in enumerate(pairwise(tokens))
        if token.token_type is TokenType.STRUCT and after.token_type is TokenType.L_PAREN
    ]
    if not changed:
        return tokens
    tokens = list(tokens)
    for i in changed:
        t = tokens[i]
        tokens[i] = Token(TokenType.VAR, t.text, t.line, t.col, t.start, t.end)
    return tokens


def _after_in(tokens: Tokens, index: int) -> bool:
    return index >= 0 and tokens[index].token_type is TokenType.IN


def _constants_end(tokens: Tokens, start: int) -> int:
    """The index after a run of constants with commas between; `start` if it is something else."""
    end = start
    while end < len(tokens) and tokens[end].token_type in _IN_LIST:
        end += 1
    return end if end > start and tokens[start].token_type is not TokenType.COMMA else start


def _first_row(tokens: Tokens, start: int, kept: list[Token]) -> int:
    """Keep the first of the rows of constants after VALUES; a row with anything else ends the shortening."""
    at = start
    while at < len(tokens) and tokens[at].token_type is TokenType.L_PAREN:
        stop = _constants_end(tokens, at + 1)
        if stop >= len(tokens) or tokens[stop].token_type is not TokenType.R_PAREN:
            break
        if at == start:
            kept.extend(tokens[at : stop + 1])
        at = stop + 1
        if at < len(tokens) and tokens[at].token_type is TokenType.COMMA:
            at += 1
        else:
            return at
    if at > start:
        kept.append(tokens[at - 1])  # the comma before the row that was not constant
    return at
