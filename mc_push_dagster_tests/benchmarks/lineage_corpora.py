"""Lineage on the corpora beside the checkout, with every figure and its threshold: `make bench-lineage`.

    python -m mc_push_dagster_tests.benchmarks.lineage_corpora [--no-naive] [--wrong]

Exit code 1 if a threshold is missed, 0 also where the corpora are absent.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from mc_push_dagster.lineage.cases import answer
from mc_push_dagster_tests.benchmarks.lineage_naive import naive
from mc_push_dagster_tests.benchmarks.lineage_scoring import (
    CORPORA,
    LABELLED,
    Answer,
    agreement,
    bound_tables,
    load,
    plain,
    score,
    total,
)


@dataclass
class Report:
    """Lines for people, and whether every threshold was met."""

    missed: list[str] = field(default_factory=list)

    def line(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def check(self, name: str, value: float, least: float, *, text: str) -> None:
        met = value >= least
        if not met:
            self.missed.append(name)
        self.line(f"  {'ok ' if met else 'MISSED'} {name}: {text}")


def main(arguments: list[str]) -> int:
    """Run the benchmark; see the module."""
    if not CORPORA.is_dir():
        sys.stdout.write("skipped: no corpora beside the checkout (../shared/corpora)\n")
        return 0
    report = Report()
    report.line(f"sqlglot compiled: {'yes' if compiled() else 'no'}")
    _labelled(report, show_wrong="--wrong" in arguments)
    _opinions(report)
    _dialects(report)
    for corpus in ("tpcds", "tpch"):
        exact, cases, wrong = bound_tables(answer, corpus)
        report.check(f"{corpus} tables", exact / cases, 1.0, text=f"{exact}/{cases} exact {' '.join(wrong)}")
    _speed(report, against_naive="--no-naive" not in arguments)
    report.line(f"missed: {', '.join(report.missed)}" if report.missed else "every threshold is met")
    return 1 if report.missed else 0


def compiled() -> bool:
    """True where the compiled sqlglot (extra `fast`) is installed."""
    spec = find_spec("sqlglot.parser")
    return spec is not None and str(spec.origin).endswith((".so", ".pyd"))


def _labelled(report: Report, *, show_wrong: bool) -> None:
    scores = score(answer)
    for corpus, (tables, columns) in scores.items():
        report.line(f"{corpus}\n  tables  {tables}\n  columns {columns}")
    tables = total(t for t, _ in scores.values())
    columns = total(c for _, c in scores.values())
    report.line("all labelled corpora")
    report.check("tables exact", tables.exact_share, 0.97, text=f"{tables} (at least 97 %)")
    report.check("table precision", tables.precision, 0.99, text=f"{tables.precision:.2%} (at least 99 %)")
    report.check("columns exact", columns.exact_share, 0.90, text=f"{columns} (at least 90 %)")
    report.check("column precision", columns.precision, 0.97, text=f"{columns.precision:.2%} (at least 97 %)")
    for name, missing, extra in (*tables.wrong, *columns.wrong) if show_wrong else ():
        report.line(f"  differs: {name}\n    missing {missing}\n    extra   {extra}")


def _opinions(report: Report) -> None:
    """The baselines by the same rule, in the same run."""
    for name, other in (("sqlglot naive", naive), ("openlineage-sql", _openlineage())):
        if other is None:
            report.line(f"baseline {name}: not installed")
            continue
        scores = score(other, LABELLED)
        tables, columns = total(t for t, _ in scores.values()), total(c for _, c in scores.values())
        report.line(f"baseline {name}\n  tables  {tables}\n  columns {columns}")


def _openlineage() -> Answer | None:
    try:
        from openlineage_sql import parse
    except ImportError:
        return None

    def found(case: Mapping[str, Any]) -> dict[str, Any]:
        texts = [case["sql"]] if isinstance(case["sql"], str) else case["sql"]
        known = {"ansi": "generic", "sparksql": "spark", "spark": "spark"}
        try:
            result = parse(texts, dialect=known.get(case["dialect"], case["dialect"]))
        except (RuntimeError, ValueError):
            result = None
        if result is None:
            return {"tables": [], "columns": [], "inputs": []}
        inputs = [t.qualified_name for t in result.in_tables]
        edges = [{"source": s, "destination": t.qualified_name} for s in inputs for t in result.out_tables]
        columns = [
            {
                "source_table": up.origin.qualified_name if up.origin else "",
                "source_column": up.name,
                "destination_column": down.descendant.name,
            }
            for down in result.column_lineage
            for up in down.lineage
        ]
        return {"tables": edges, "columns": columns, "inputs": inputs}

    return found


def _dialects(report: Report) -> None:
    found = agreement(answer)
    report.line(f"mimic: {found.keys} queries in up to three dialects")
    tables = found.tables_equal / found.keys
    columns = found.columns_equal / found.keys
    report.check("mimic tables", tables, 1.0, text=f"{found.tables_equal}/{found.keys} equal (all)")
    report.check(
        "mimic columns",
        columns,
        0.99,
        text=f"{found.columns_equal}/{found.keys} equal (99 %), edges {found.edges_common}/{found.edges_all}",
    )
    for key in found.differences:
        report.line(f"  differs: {key}")


def _speed(report: Report, *, against_naive: bool) -> None:
    cases = load("bigquery_etl")
    ours: list[float] = []
    theirs: list[float] = []
    errors: list[str] = []
    views = right = 0
    for case in cases:
        # Taken in turns, so that a busy neighbour slows both.
        start = time.perf_counter()
        found = answer(case)
        ours.append(time.perf_counter() - start)
        if against_naive:
            start = time.perf_counter()
            naive(case)
            theirs.append(time.perf_counter() - start)
        if found["error"]:
            errors.append(f"{case['id']}: {found['error']}")
        if case["kind"] == "view.sql":
            views += 1
            right += [plain(name) for name in found["outputs"]] == [plain(case["dest"])]
    ours.sort()
    p99 = ours[int(len(ours) * 0.99)]
    report.line(f"bigquery-etl: {len(cases)} queries")
    report.check("no error", -len(errors), 0, text=f"{len(errors)} without a full result {' '.join(errors)}")
    report.check("views' destinations", right / views, 1.0, text=f"{right}/{views}")
    text = f"{p99:.3f} s (at most 0.6), worst {ours[-1]:.3f} s, median {ours[len(ours) // 2]:.4f} s"
    report.check("p99", -p99, -0.6, text=text)
    if theirs:
        share = sum(ours) / sum(theirs)
        text = f"{sum(ours):.2f} s against {sum(theirs):.2f} s naive = {share:.1%} (at most a third)"
        report.check("total time", -share, -1 / 3, text=text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
