"""Column edges against an oracle without a parser: `make bench-lineage`.

    python mc_push_dagster_tests/benchmarks/lineage_oracle.py [--demo | --tpch] [--indirect]

A source column's values are changed (permuted, copied over each other, blanked), the statement is run again on DuckDB,
and the output columns that changed are compared with our edges. Filters, joins, groups and orders change outputs, too,
without values flowing: such a change counts neither way where our indirect evidence names the column, or where the
number of rows or every output changed with it. The rest counts. All disagreements are listed: edges that no experiment
confirms, changes that nothing explains, and columns that decide which rows there are, which our indirect evidence does
not name.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from mc_push_dagster.sandbox import demo
from mc_push_dagster_tests.benchmarks.oracle_lab import Lab, Pair, Verdict, quoted
from mc_push_dagster_tests.benchmarks.tpch_like import QUESTIONS, fill

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
_WRITING = ("CREATE TABLE", "CREATE OR REPLACE TABLE", "CREATE VIEW", "INSERT", "UPDATE", "MERGE")
_COMMENTS = re.compile(r"\A(\s*--[^\n]*\n)+\s*")
_MOST_ROWS = 4_000
"""Facts of the shop are thinned to about so many rows: the same orders, customers and products in every table."""


def tpch(names: Iterable[str] = QUESTIONS) -> Iterator[Verdict]:
    """The verdict on each business question, written as CREATE TABLE AS."""
    with duckdb.connect() as connection:
        connection.execute("ATTACH ':memory:' AS trade")
        connection.execute("USE trade")
        fill(connection)
        lab = Lab(connection, "trade")
        for name in names:
            yield lab.try_out(name, f"CREATE TABLE answer AS {QUESTIONS[name]}")


def shop() -> Iterator[Verdict]:
    """The verdict on each statement of the demo shop that moves data, run on the shop as it is when it was built."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shop.duckdb"
        demo.build(path, now=NOON)
        with duckdb.connect() as connection:
            lab, statements = _lab(connection, path)
            for number, (sql, schema) in enumerate(statements):
                flow = lab.flow(sql, schema)
                if flow is None or not flow.reads:
                    continue
                yield lab.try_out(f"{number}: {' '.join(sql.split())[:60]}", sql, schema=schema)
                if flow.destination not in {ref.parts for ref in lab.refs()}:
                    connection.execute(sql)


def _lab(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[Lab, list[tuple[str, str]]]:
    """The shop's tables and views, all as plain tables, thinned; and its statements in order."""
    connection.execute(f"ATTACH '{path}' AS built (READ_ONLY)")
    connection.execute("ATTACH ':memory:' AS shop")
    log = connection.execute(
        "SELECT query_text, any_value(schema_name ORDER BY started_at) FROM built.ops.query_log"
        " WHERE error_code IS NULL GROUP BY query_text ORDER BY min(started_at)"
    ).fetchall()
    objects = connection.execute(
        "SELECT DISTINCT schema_name, table_name FROM duckdb_columns()"
        " WHERE database_name = 'built' AND schema_name <> 'ops' AND NOT internal"
    ).fetchall()
    connection.execute("USE built")
    for schema, table in objects:
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS shop.{quoted(schema)}")
        source = quoted("built", schema, table)
        columns = [row[0] for row in connection.execute(f"DESCRIBE {source}").fetchall()]
        thin = next((c for c in ("order_id", "customer_id", "session_key") if c in columns), None)
        rows = connection.execute(f"SELECT count(*) FROM {source}").fetchall()[0][0]
        where = f"WHERE hash({quoted(thin)}) % {rows // _MOST_ROWS + 1} = 0" if thin and rows > _MOST_ROWS else ""
        connection.execute(f"CREATE TABLE {quoted('shop', schema, table)} AS SELECT * FROM {source} {where}")
    # A temporary table is as good as another here, and stays for the statements after it.
    texts = [(_COMMENTS.sub("", sql).replace("CREATE TEMP TABLE", "CREATE TABLE"), schema) for sql, schema in log]
    return Lab(connection, "shop"), [(sql, schema) for sql, schema in texts if sql.upper().startswith(_WRITING)]


class Total:
    """Verdicts added up."""

    def __init__(self) -> None:
        self.verdicts: list[Verdict] = []

    def _count(self, kind: str) -> int:
        return sum(len(getattr(v, kind)) for v in self.verdicts)

    @property
    def precision(self) -> float:
        confirmed, unconfirmed = self._count("confirmed"), self._count("unconfirmed")
        return confirmed / (confirmed + unconfirmed) if confirmed + unconfirmed else 1.0

    @property
    def recall(self) -> float:
        confirmed, missed = self._count("confirmed"), self._count("missed") + self._count("beyond")
        return confirmed / (confirmed + missed) if confirmed + missed else 1.0

    def __str__(self) -> str:
        runs, untested = sum(v.runs for v in self.verdicts), sum(v.untested for v in self.verdicts)
        return (
            f"{len(self.verdicts)} statements, {runs:,} runs; edges confirmed {self._count('confirmed')}, unconfirmed"
            f" {self._count('unconfirmed')}, not testable {untested}; changes without an edge: explained by indirect"
            f" evidence {self._count('indirect')}, deciding rows {self._count('rows')}, unexplained"
            f" {self._count('missed') + self._count('beyond')};"
            f" precision {self.precision:.1%}, recall {self.recall:.1%}"
        )


def _shown(pairs: Iterable[Pair]) -> Iterator[str]:
    for (table, column), output in sorted(pairs):
        yield f"{table[-1]}.{column} -> {output}"


def report(title: str, verdicts: Iterable[Verdict], *, with_indirect: bool = False) -> Total:
    """Print disagreements as they are found, then the figures."""
    total, began = Total(), time.perf_counter()
    for verdict in verdicts:
        total.verdicts.append(verdict)
        told = [
            *(f"unconfirmed edge  {line}" for line in _shown(verdict.unconfirmed)),
            *(f"unexplained       {line}" for line in _shown(verdict.missed)),
            *(f"decides rows      {line}" for line in _shown(verdict.rows)),
            *(f"table not read    {table[-1]}.{column}" for table, column in sorted(verdict.beyond)),
            *(f"indirect          {line}" for line in _shown(verdict.indirect) if with_indirect),
        ]
        for line in told:
            sys.stdout.write(f"  {verdict.label}: {line}\n")
    sys.stdout.write(f"oracle, {title}: {total} ({time.perf_counter() - began:.0f} s)\n")
    sys.stdout.flush()
    return total


def main(arguments: list[str]) -> None:
    with_indirect = "--indirect" in arguments
    if "--demo" not in arguments:
        report("TPC-H-like", tpch(), with_indirect=with_indirect)
    if "--tpch" not in arguments:
        report("demo shop", shop(), with_indirect=with_indirect)


if __name__ == "__main__":
    main(sys.argv[1:])
