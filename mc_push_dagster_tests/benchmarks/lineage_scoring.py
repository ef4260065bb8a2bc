"""How lineage is scored on the labelled corpora beside the checkout: the rule of the corpora's README.

A case counts only when its set of edges is exactly equal to the expected one. Names are compared in lower case and
without quotes; a table edge is (source, destination), self-edges dropped; a column edge is (source table's last name
part, source column, destination column).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CORPORA = Path(__file__).resolve().parents[2].parent / "shared" / "corpora"
LABELLED = ("sqllineage_tests", "datahub_goldens", "openlineage_sql_tests")
DIALECTS = frozenset(
    "snowflake bigquery databricks spark sparksql hive redshift postgres duckdb ansi generic".split()  # noqa: SIM905
)
Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]
TableEdges = set[tuple[str, str]]
ColumnEdges = set[tuple[str, str, str]]


@dataclass
class Score:
    """Exact cases, and edges found, missed and invented."""

    exact: int = 0
    cases: int = 0
    right: int = 0
    extra: int = 0
    missing: int = 0
    wrong: list[tuple[str, list[Any], list[Any]]] = field(default_factory=list)
    """Case, edges missing, edges extra."""

    def add(self, name: str, expected: set[Any], found: set[Any]) -> None:
        self.cases += 1
        self.exact += expected == found
        self.right += len(expected & found)
        self.extra += len(found - expected)
        self.missing += len(expected - found)
        if expected != found:
            self.wrong.append((name, sorted(expected - found), sorted(found - expected)))

    @property
    def exact_share(self) -> float:
        return self.exact / self.cases if self.cases else 0.0

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.extra) if self.right + self.extra else 1.0

    @property
    def recall(self) -> float:
        return self.right / (self.right + self.missing) if self.right + self.missing else 1.0

    def __str__(self) -> str:
        return (
            f"{self.exact_share:6.1%} exact ({self.exact}/{self.cases}), "
            f"precision {self.precision:.1%}, recall {self.recall:.1%}"
        )


def load(corpus: str) -> list[dict[str, Any]]:
    """The cases of one corpus."""
    with (CORPORA / f"{corpus}.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def plain(name: str | None) -> str:
    """A name as it is compared."""
    return (name or "").translate(_QUOTES).replace("<default>.", "").lower()


_QUOTES = str.maketrans("", "", '"`[]')


def last(name: str | None) -> str:
    """The last part of a table's name."""
    return plain(name).rpartition(".")[2]


def scored(case: Mapping[str, Any]) -> bool:
    """True for a dialect that counts."""
    return case["dialect"] in DIALECTS


def expected_tables(case: Mapping[str, Any]) -> TableEdges | None:
    """The table edges of a case; None if it does not count."""
    sources, targets = case.get("in_tables"), case.get("out_tables")
    if not sources or not targets or any("path:" in name for name in (*sources, *targets)):
        return None
    return {(s, t) for s in map(plain, sources) for t in map(plain, targets) if s != t}


def found_tables(answer: Mapping[str, Any]) -> TableEdges:
    """The table edges of an answer."""
    pairs = ((plain(edge["source"]), plain(edge["destination"])) for edge in answer["tables"])
    return {(s, t) for s, t in pairs if s != t}


def expected_columns(case: Mapping[str, Any]) -> ColumnEdges | None:
    """The column edges of a case; None if it does not count."""
    listed = case.get("column_lineage")
    if not listed:
        return None
    if isinstance(listed[0], list):
        return {(last(source[0]), plain(source[1]), plain(target[1])) for source, target in listed}
    return {(last(up[0]), plain(up[1]), plain(down["down"])) for down in listed for up in down["up"]}


def found_columns(answer: Mapping[str, Any]) -> ColumnEdges:
    """The column edges of an answer."""
    return {
        (last(e["source_table"]), plain(e["source_column"]), plain(e["destination_column"])) for e in answer["columns"]
    }


def score(answer: Answer, corpora: Iterable[str] = LABELLED) -> dict[str, tuple[Score, Score]]:
    """Tables and columns of each labelled corpus."""
    result: dict[str, tuple[Score, Score]] = {}
    for corpus in corpora:
        tables, columns = Score(), Score()
        for case in filter(scored, load(corpus)):
            found = answer(case)
            wanted = expected_tables(case)
            if wanted is not None:
                tables.add(case["id"], wanted, found_tables(found))
            wanted_columns = expected_columns(case)
            if wanted_columns is not None:
                columns.add(case["id"], wanted_columns, found_columns(found))
        result[corpus] = tables, columns
    return result


def total(scores: Iterable[Score]) -> Score:
    """All corpora as one."""
    result = Score()
    for part in scores:
        result.exact += part.exact
        result.cases += part.cases
        result.right += part.right
        result.extra += part.extra
        result.missing += part.missing
        result.wrong += part.wrong
    return result


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far the same query in several dialects has the same lineage."""

    keys: int
    tables_equal: int
    columns_equal: int
    edges_common: int
    edges_all: int
    differences: tuple[str, ...]


def agreement(answer: Answer) -> Agreement:
    """Compare the dialects of each key of the MIMIC corpus: databases differ by engine, so that last parts count."""
    by_key: dict[str, list[tuple[set[str], ColumnEdges]]] = {}
    for case in load("mimic"):
        found = answer(case)
        by_key.setdefault(case["key"], []).append(({last(name) for name in found["inputs"]}, found_columns(found)))
    tables = columns = common = everything = 0
    differences: list[str] = []
    for key, group in by_key.items():
        inputs = [g[0] for g in group]
        edges = [g[1] for g in group]
        shared, union = set.intersection(*edges), set.union(*edges)
        tables += all(i == inputs[0] for i in inputs)
        columns += shared == union
        common += len(shared)
        everything += len(union)
        if shared != union or any(i != inputs[0] for i in inputs):
            differences.append(key)
    return Agreement(
        keys=len(by_key),
        tables_equal=tables,
        columns_equal=columns,
        edges_common=common,
        edges_all=everything,
        differences=tuple(differences),
    )


def bound_tables(answer: Answer, corpus: str) -> tuple[int, int, list[str]]:
    """TPC queries against the tables that DuckDB bound: exact cases, all cases, those that differ.

    Destination columns must be among those that DuckDB gives the result, too.
    """
    cases = load(corpus)
    wrong = []
    for case in cases:
        found = answer(case)
        right = {plain(t["source"]) for t in found["tables"]} == {plain(name) for name in case["in_tables"]}
        listed = {plain(name) for name in case.get("out_columns") or ()}
        stray = {plain(c["destination_column"]) for c in found["columns"]} - listed if listed else set()
        if not right or stray or found["error"]:
            wrong.append(case["id"])
    return len(cases) - len(wrong), len(cases), wrong


def failures(corpus: str, answer: Answer) -> Iterator[str]:
    """What could not be used of a corpus, by case and reason."""
    for case in load(corpus):
        error = answer(case)["error"]
        if error:
            yield f"{case['id']}: {error}"
