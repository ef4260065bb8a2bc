"""What a warehouse calls a select item that nobody named."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp
from sqlglot.tokens import Token, TokenType

from mc_push_dagster.lineage.names import Rules, Unnamed

_OPEN = frozenset({TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE})
_CLOSE = frozenset({TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END})
_STOPS = frozenset({TokenType.COMMA, TokenType.SELECT, TokenType.DISTINCT, TokenType.FROM, TokenType.INTO})
_CONSTANTS = frozenset({TokenType.NUMBER, TokenType.STRING, TokenType.RAW_STRING})


class Texts:
    """The text of select items, as it stands in the statement."""

    def __init__(self, tokens: Sequence[Token], text: str, rules: Rules) -> None:
        self._tokens = tokens
        self._text = text
        self._rules = rules
        self._starts: dict[int, int] | None = None
        self.literal = False
        """True if a constant went into a name."""

    def of(self, item: exp.Expr) -> str:
        """The text of a select item without alias, in the dialect's case."""
        start = next((n.meta["start"] for n in item.walk() if n.meta and "start" in n.meta), None)
        if start is None:
            self.literal = True
            return self._rules.fold(item.sql(comments=False), quoted=False)
        if self._starts is None:
            self._starts = {t.start: i for i, t in enumerate(self._tokens)}
        at = self._starts.get(start)
        if at is None:
            self.literal = True
            return self._rules.fold(item.sql(comments=False), quoted=False)
        first, last = self._span(at)
        self.literal |= any(t.token_type in _CONSTANTS for t in self._tokens[first : last + 1])
        text = self._text[self._tokens[first].start : self._tokens[last].end + 1]
        return self._rules.fold(" ".join(text.split()), quoted=False)

    def _span(self, at: int) -> tuple[int, int]:
        first, last, tokens = at, at, self._tokens
        level = 0
        while first > 0:
            kind = tokens[first - 1].token_type
            level += (kind in _CLOSE) - (kind in _OPEN)
            if level <= 0 and kind in _STOPS:
                break
            first -= 1
        level = 0
        for i in range(first, len(tokens)):
            kind = tokens[i].token_type
            if level == 0 and (kind in _CLOSE or (kind in _STOPS and i > at)):
                break
            level += (kind in _OPEN) - (kind in _CLOSE)
            last = i
        return first, last
