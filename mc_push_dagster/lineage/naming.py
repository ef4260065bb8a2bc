"""What a warehouse calls a select item that nobody named."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import Token, TokenType, exp

from mc_push_dagster.lineage.names import Rules, Unnamed

_OPEN = frozenset({TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE})
_CLOSE = frozenset({TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END})
_STOPS = frozenset({TokenType.COMMA, TokenType.DISTINCT, TokenType.FROM, TokenType.INTO})
_CONSTANTS = frozenset({TokenType.NUMBER, TokenType.STRING, TokenType.RAW_STRING})

_NO_NAME = "?column?"


class Texts:
    """The text of select items, as it stands in the statement."""

    def __init__(self, tokens: Sequence[Token], text: str, rules: Rules) -> None:
        self._tokens = tokens
        self._source = text
        self._rules = rules
        self._starts: dict[int, int] | None = None
        self._count = 0
        self.made = False
        """True where the names become a table's: then the warehouse makes them up by its own rule."""
        self.bare = False
        """True for a query that fills no table: what PostgreSQL gives no name of its own is numbered."""
        self.literal = False
        """True if a constant went into a name."""

    def of(self, item: exp.Expr, position: int = 0) -> str:
        """What the warehouse calls a select item without alias, where the statement makes a table or a view of it."""
        rule = self._rules.unnamed
        if self.bare and rule is Unnamed.POSTGRES:
            name = _postgres(item)
            if name != _NO_NAME:
                return name
            self._count += 1
            return f"_{self._count - 1}"
        if not self.made or rule is Unnamed.TEXT:
            return self._text_of(item)
        if rule is Unnamed.HIVE:
            return f"_c{position}"
        if rule is Unnamed.BIGQUERY:
            self._count += 1
            return f"f{self._count - 1}_"
        return _postgres(item)

    def _text_of(self, item: exp.Expr) -> str:
        """The text of a select item, in the dialect's case."""
        if isinstance(item, exp.Cast) and isinstance(item.this, exp.Column):
            text = self._written(item)
            # `a::int` keeps the name; `CAST(a AS int)` does not.
            return item.this.name if "::" in text and self._rules.sqlglot in ("", "postgres", "redshift") else text
        return self._written(item)

    def _written(self, item: exp.Expr) -> str:
        start = min((n.meta["start"] for n in item.walk() if "start" in n.meta), default=None)
        if self._starts is None:
            self._starts = {t.start: i for i, t in enumerate(self._tokens)}
        at = None if start is None else self._starts.get(start)
        if at is None:
            self.literal = True
            return self._rules.fold(item.sql(comments=False), quoted=False)
        first, last = self._span(at)
        self.literal |= any(t.token_type in _CONSTANTS for t in self._tokens[first : last + 1])
        text = self._source[self._tokens[first].start : self._tokens[last].end + 1]
        return self._rules.fold(" ".join(text.split()), quoted=False)

    def _span(self, at: int) -> tuple[int, int]:
        """The first and the last token of the select item that the token `at` stands in."""
        tokens, level, first = self._tokens, 0, at
        while first > 0:
            kind = tokens[first - 1].token_type
            level += (kind in _CLOSE) - (kind in _OPEN)
            if kind is TokenType.SELECT and level <= 0:
                break
            first -= 1
        level, last = 0, at
        for i in range(first, len(tokens)):
            kind = tokens[i].token_type
            if level == 0 and (kind in _CLOSE or (kind in _STOPS and i > at)):
                break
            if level == 0 and kind in _STOPS:
                first = i + 1
            level += (kind in _OPEN) - (kind in _CLOSE)
            last = i
        return first, last


def _postgres(item: exp.Expr) -> str:
    """The name PostgreSQL makes up (FigureColname in src/backend/parser/parse_target.c)."""
    node = item
    while isinstance(node, (exp.Cast, exp.Paren, exp.Collate, exp.Bracket)):
        if isinstance(node, exp.Cast) and not isinstance(node.this, (exp.Column, exp.Func, exp.Paren, exp.Cast)):
            return node.to.sql().lower()
        node = node.this
    if isinstance(node, exp.Column):
        return node.name
    if isinstance(node, exp.Window):
        node = node.this
    if isinstance(node, exp.Case):
        return "case"
    if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Select) and node.this.expressions:
        first = node.this.expressions[0]
        return first.alias_or_name or _postgres(first)
    if isinstance(node, exp.Anonymous):
        return node.name.lower()
    if isinstance(node, exp.Func) and not isinstance(node, exp.Connector):
        return node.sql_name().lower()
    return _NO_NAME
