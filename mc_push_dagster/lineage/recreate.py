"""CREATE statements with clauses that sqlglot does not know: name, columns and query are found by their places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sqlglot import Token, TokenType, exp

from mc_push_dagster.lineage.commands import name_at, whole_table
from mc_push_dagster.lineage.flows import query_flow
from mc_push_dagster.lineage.reader import Reader
from mc_push_dagster.lineage.steps import Step

_HEAD = 8
_KINDS = ("TABLE", "VIEW")
_TRAILS = frozenset({"CHECK", "LOCAL", "CASCADED", "NO", "DATA", "READ"})


def recreated(
    tokens: Sequence[Token], reader: Reader, parse: Callable[[Sequence[Token]], Sequence[exp.Expr | None]]
) -> Iterator[Step]:
    """What a CREATE TABLE or VIEW that was left as text does.

    Raises:
        sqlglot.errors.ParseError: if its query is none.
    """
    words = [t.text.upper() for t in tokens]
    start = next((i + 1 for i in range(min(_HEAD, len(words))) if words[i] in _KINDS), None)
    if words[:1] != ["CREATE"] or start is None:
        return
    name, after = name_at(tokens, start, reader)
    if not name:
        return
    outside = list(_outside(tokens, after))
    clone = next((i for i in outside if words[i] == "CLONE"), None)
    query = next((i for i in outside if words[i] == "AS" and clone is None), None)
    if query is not None:
        end = next(
            (i for i in outside if i > query and words[i] == "WITH" and words[i + 1 : i + 2][0] in _TRAILS), None
        )
        target = reader.locate(name).name
        made = {
            "creates": True,
            "temporary": bool({"TEMP", "TEMPORARY"} & set(words[:start])),
            "view": words[start - 1] == "VIEW",
        }
        for tree in parse(tokens[query + 1 : end]):
            if isinstance(tree, (exp.Query, exp.Pivot)):
                yield query_flow(reader, tree, target, listed=_columns(tokens, after, reader), **made)
    elif clone is not None:
        source, _ = name_at(tokens, clone + 1, reader)
        if source:
            yield whole_table(reader, source, name)


def _outside(tokens: Sequence[Token], start: int) -> Iterator[int]:
    """Places outside of all parentheses that have a token after them."""
    level = 0
    for i in range(start, len(tokens) - 1):
        kind = tokens[i].token_type
        level += (kind is TokenType.L_PAREN) - (kind is TokenType.R_PAREN)
        if level == 0:
            yield i


def _columns(tokens: Sequence[Token], start: int, reader: Reader) -> list[str]:
    """The first word of each item of the parentheses at `start`."""
    if start >= len(tokens) or tokens[start].token_type is not TokenType.L_PAREN:
        return []
    names: list[str] = []
    level, first = 0, True
    for token in tokens[start:]:
        level += (token.token_type is TokenType.L_PAREN) - (token.token_type is TokenType.R_PAREN)
        if level == 0:
            break
        if level == 1 and token.token_type is TokenType.COMMA:
            first = True
        elif first and token.token_type is not TokenType.L_PAREN:
            names.append(reader.rules.fold(token.text, quoted=token.token_type is TokenType.IDENTIFIER))
            first = False
    return names
