"""sqlglot's parser, kept within its budget."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from sqlglot import Token, exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ErrorLevel
from sqlglot.parser import Parser

_CHECK_EVERY = 64

# sqlglot's warnings quote the statement, which may hold a password: they go into no log.
logging.getLogger("sqlglot").addFilter(lambda record: record.levelno >= logging.ERROR)


def parse(tokens: Sequence[Token], text: str, dialect: Dialect, tick: Callable[[], None]) -> Sequence[exp.Expr | None]:
    """Parse one statement; `tick` may stop it.

    Some syntax makes sqlglot try each level of nesting twice, so that 30 levels never end. It shows in how often the
    parser goes back. The compiled sqlglot (extra `fast`) cannot be watched: there limits on tokens and depth must do.

    Raises:
        sqlglot.errors.ParseError: if the tokens are no statement of the dialect.
    """
    parser = _watched(dialect.parser_class)(dialect=dialect, error_level=ErrorLevel.IMMEDIATE)
    if isinstance(parser, _Watched):
        parser.tick = tick
    return parser.parse(list(tokens), text)


class _Watched:
    """What makes a parser ask for time when it goes back."""

    tick: Callable[[], None]
    went_back = 0

    def _retreat(self, index: Any) -> None:
        self.went_back += 1
        if self.went_back % _CHECK_EVERY == 0:
            self.tick()
        super()._retreat(index)  # pyright: ignore[reportAttributeAccessIssue] - the parser it is mixed into


@cache
def _watched(parser: type[Parser]) -> type[Parser]:
    watched = type(parser.__name__, (_Watched, parser), {})
    try:
        watched()
    except TypeError:  # a compiled class cannot be extended
        return parser
    return watched
