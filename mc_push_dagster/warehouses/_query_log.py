"""Which queries of a log are pushed: one setting and one SQL condition for every warehouse whose log is a view."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from mc_push_dagster.warehouses.base import Settings, like_pattern


class QueryLogFilter(Settings):
    """Which queries of the log are pushed: globs (`*`, `?`), compared without regard to case.

    A query passes if some include matches (or there is none) and no exclude does.
    """

    users: tuple[str, ...] = Field(
        default=(), description="Only queries of these users, as the log names them (BigQuery: by e-mail address)."
    )
    exclude_users: tuple[str, ...] = Field(default=(), description="No queries of these users.")
    texts: tuple[str, ...] = Field(default=(), description="Only queries whose whole text matches one of these.")
    exclude_texts: tuple[str, ...] = Field(default=(), description="No queries whose whole text matches one of these.")

    def condition(self, *, user: str, text: str, bind: Callable[[str], str], escape_clause: str = "") -> str:
        """Return what a WHERE clause is continued with (`AND ...`), or nothing where all queries pass.

        `user` and `text` are SQL expressions; `bind` takes a value, remembers it, and returns its placeholder;
        `escape_clause` makes the backslash escape in LIKE where it does not by itself.
        """

        def some(column: str, globs: tuple[str, ...], *, wanted: bool) -> str:
            # A query without a user passes no include and no exclude: COALESCE keeps NULL out of the logic.
            tests = (f"LOWER(COALESCE({column}, '')) LIKE {bind(like_pattern(g))} {escape_clause}" for g in globs)
            return f"AND {'' if wanted else 'NOT '}({' OR '.join(test.rstrip() for test in tests)})"

        chosen = ((user, self.users, True), (user, self.exclude_users, False))
        chosen += ((text, self.texts, True), (text, self.exclude_texts, False))
        return " ".join(some(column, globs, wanted=wanted) for column, globs, wanted in chosen if globs)
