"""A second opinion on table lineage from a parser of another make (openlineage-sql, in Rust), where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Set
from functools import cache
from typing import Any, Literal

from mc_push_dagster.errors import MissingExtra

_DIALECTS = {
    "bigquery": "bigquery",
    "databricks": "databricks",
    "duckdb": "duckdb",
    "hive": "hive",
    "postgres": "postgres",
    "redshift": "redshift",
    "snowflake": "snowflake",
    "spark": "spark",
}
_LONGEST = 8_000
"""Characters. Its parser recurses: a sum of 20,000 terms overflows the stack and ends the process (release 1.54)."""


@cache
def _parser() -> Callable[..., Any]:
    try:
        from openlineage_sql import parse  # pyright: ignore[reportAttributeAccessIssue] - a compiled module
    except ImportError as error:
        raise MissingExtra(what="A second opinion on lineage", extra="second-opinion") from error
    return parse


def second_opinion(wanted: Literal["auto"] | bool, dialect: str) -> SecondOpinion | None:
    """The second parser, if it is `wanted`; with `auto`, if it is installed.

    Raises:
        MissingExtra: if it is wanted and not installed.
    """
    if wanted is False:
        return None
    try:
        return SecondOpinion(dialect)
    except MissingExtra:
        if wanted == "auto":
            return None
        raise


class SecondOpinion:
    """Asks openlineage-sql whether it sees the same tables.

    Raises:
        MissingExtra: if openlineage-sql is not installed.
    """

    def __init__(self, dialect: str) -> None:
        self._dialect = _DIALECTS.get(dialect, "generic")
        self._parse = _parser()

    def agrees(self, sql: str, reads: Set[str], destination: str) -> bool | None:
        """True if it finds the same tables (lower-case names, as far as they are qualified); None if it fails.

        A statement of more than 8,000 characters is not asked about.
        """
        if len(sql) > _LONGEST:
            return None
        found = self._parse([sql], dialect=self._dialect)
        if found is None or found.errors:
            return None
        inputs = {_plain(t.qualified_name) for t in found.in_tables}
        outputs = {_plain(t.qualified_name) for t in found.out_tables}
        return _same(inputs - outputs, reads - {destination}) and any(_ends(o, destination) for o in outputs)


def _plain(name: str) -> str:
    return name.replace('"', "").replace("`", "").lower()


def _ends(short: str, full: str) -> bool:
    return full == short or full.endswith("." + short) or short.endswith("." + full)


def _same(left: Set[str], right: Set[str]) -> bool:
    return all(any(_ends(a, b) for b in right) for a in left) and all(any(_ends(b, a) for a in left) for b in right)
