"""`mc-push lineage`: lines in, lines out; and what people see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from rich.console import Console

from mc_push_dagster.cli import screen
from mc_push_dagster.cli.lineage import lineage
from mc_push_dagster.lineage import lines
from mc_push_dagster.lineage.explaining import Line, groups, marks, of_text
from mc_push_dagster.lineage.lines import ALONE, answer_line, answered

COMMAND = [sys.executable, "-c", "from mc_push_dagster.cli import main; main()", "lineage", "--jsonl"]


def case(number: int, **more: Any) -> bytes:
    sql = f"INSERT INTO s.report SELECT id, total + {number} AS t{number} FROM s.orders"
    return orjson.dumps({"id": number, "sql": sql, "dialect": "snowflake", **more})


def test_a_case_is_answered_with_every_key() -> None:
    line = orjson.dumps(
        {
            "id": "a",
            "sql": "INSERT INTO report SELECT o.id, c.name FROM orders o JOIN sales.public.customers c USING (id)",
            "dialect": "snowflake",
            "schemas": {"sales.public.orders": {"id": "int"}, "public.customers": ["id", "Name"]},
            "default_db": "SALES",
            "default_schema": "PUBLIC",
        }
    )
    assert orjson.loads(answer_line(line)) == {
        "id": "a",
        "tables": [
            {"source": "sales.public.orders", "destination": "SALES.PUBLIC.REPORT"},
            {"source": "SALES.public.customers", "destination": "SALES.PUBLIC.REPORT"},
        ],
        "inputs": ["sales.public.orders", "SALES.public.customers"],
        "outputs": ["SALES.PUBLIC.REPORT"],
        "columns": [
            {
                "source_table": "sales.public.orders",
                "source_column": "id",
                "destination_table": "SALES.PUBLIC.REPORT",
                "destination_column": "ID",
            },
            {
                "source_table": "SALES.public.customers",
                "source_column": "Name",
                "destination_table": "SALES.PUBLIC.REPORT",
                "destination_column": "NAME",
            },
        ],
        "confidence": 1.0,
        "error": None,
    }


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"nonsense", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"{}", "sql must be"),
        (b'{"sql": [1]}', "sql must be"),
        (b'{"sql": "SELECT 1", "schemas": []}', "schemas must map"),
        (b'{"sql": "SELECT 1", "schemas": {"t": 1}}', "schemas must map"),
        (b'{"sql": "SELECT 1", "dialect": 5}', "dialect must be"),
        (b'{"sql": "SELECT 1", "default_db": {}}', "default_db must be"),
        (b'{"sql": "SELECT \'"}', "not parsed"),
        (b'{"sql": "\xff"}', "not JSON"),
    ],
)
def test_a_bad_line_gives_an_error_object(line: bytes, error: str) -> None:
    found = orjson.loads(answer_line(line))
    assert found["error"].startswith(error)
    assert set(found) == {"id", "tables", "inputs", "outputs", "columns", "confidence", "error"}


def test_empty_lines_are_no_cases() -> None:
    assert [orjson.loads(a)["id"] for a in answered([b"\n", case(1), b"  \n", case(2)], workers=1)] == [1, 2]


def test_order_is_kept_over_several_processes() -> None:
    many = [case(n) if n % 7 else b"bad" for n in range(ALONE + 200)]
    alone = list(answered(many, workers=1))
    assert list(answered(many, workers=2)) == alone
    assert [orjson.loads(a)["id"] for a in alone] == [n if n % 7 else None for n in range(ALONE + 200)]


def test_every_line_is_answered_before_the_next_is_needed() -> None:
    """A peer may write one line and wait for its answer, before and after processes have started."""
    gate = threading.Semaphore(0)

    def peer() -> Iterator[bytes]:
        for n in range(ALONE + 40):
            assert gate.acquire(timeout=60), f"line {n} is waited for although its forerunner has no answer"
            yield case(n)

    gate.release()
    for n, found in enumerate(answered(peer(), workers=2)):
        assert orjson.loads(found)["id"] == n
        gate.release()


def _dies_on_42(chunk: list[bytes]) -> list[bytes]:
    if any(orjson.loads(line)["id"] == ALONE + 42 for line in chunk):
        os._exit(3)
    return [answer_line(line) for line in chunk]


def test_a_line_that_kills_its_process_costs_no_other_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_answer_chunk", _dies_on_42)
    found = [orjson.loads(a) for a in answered([case(n) for n in range(ALONE + 100)], workers=2)]
    assert [f["id"] for f in found] == list(range(ALONE + 100))
    assert [f["id"] for f in found if f["error"]] == [ALONE + 42]
    assert found[ALONE + 42]["error"] == "the analysis ended its process"


def test_the_command_streams() -> None:
    with subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for n in range(3):
            process.stdin.write(case(n) + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == n
        process.stdin.close()
        assert process.stdout.read() == b""
    assert process.returncode == 0


def test_explain_shows_the_statement_and_its_edges(tmp_path: Path) -> None:
    text = "INSERT INTO report SELECT o.total FROM orders AS o"
    file = tmp_path / "q.sql"
    file.write_text(text)
    found = CliRunner().invoke(lineage, ["explain", "--file", str(file), "--dialect", "duckdb"])
    assert found.exit_code == 0
    assert text in found.output
    assert "orders.total" in found.output
    assert "report.total" in found.output
    piped = CliRunner().invoke(lineage, ["explain", "--file", "-", "--dialect", "duckdb"], input=text)
    assert piped.output == found.output


@pytest.mark.parametrize("width", [30, 80, 200])
def test_explain_never_breaks_a_name_and_tells_tables_before_columns(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "out", Console(width=width, highlight=False, markup=False, emoji=False))
    target, source = f"db.s.{'report_' * 12}x", f"db.s.{'orders_' * 12}x"
    sql = f"INSERT INTO {target} SELECT a, b AS c, d AS c2 FROM {source}"
    found = CliRunner().invoke(lineage, ["explain", "--file", "-", "--dialect", "duckdb"], input=sql)
    assert found.exit_code == 0, found.output
    assert sql in found.output
    told = found.output.partition("In database db:\n")[2].splitlines()
    short, origin = target.removeprefix("db."), source.removeprefix("db.")
    assert [line.rpartition("from ")[2] for line in told] == [
        *(short, origin),
        *(f"{short}.a", f"{origin}.a"),
        *(f"{short}.c", f"{origin}.b"),
        *(f"{short}.c2", f"{origin}.d"),
    ]


def test_lines_are_grouped_by_what_they_flow_into() -> None:
    lines = [
        Line(source="d.s.a", source_column="x", destination="d.s.t", destination_column="n", confidence=1),
        Line(source="d.s.b", source_column="z", destination="d.s.t", destination_column="m", confidence=1),
        Line(source="d.s.b", source_column="y", destination="d.s.t", destination_column="n", confidence=1),
        Line(source="d.s.a", destination="d.s.t", confidence=1),
    ]
    database, found = groups(lines)
    told = [(destination, [line.name for line in sources]) for destination, sources in found]
    assert database == "d"
    assert told == [("s.t", ["s.a"]), ("s.t.n", ["s.a.x", "s.b.y"]), ("s.t.m", ["s.b.z"])]
    other = Line(source="e.s.a", destination="d.s.t", confidence=1)
    assert groups([*lines, other])[0] == ""


def test_explain_says_when_there_is_nothing_to_show() -> None:
    found = CliRunner().invoke(lineage, ["explain", "--file", "-"], input="SELECT ((")
    assert "No lineage" in found.output
    assert "not parsed" in found.output


def test_explain_needs_a_table_or_a_file() -> None:
    assert CliRunner().invoke(lineage, ["explain"]).exit_code == 2


def test_the_names_of_both_ends_are_marked_in_the_statement() -> None:
    sql = "INSERT INTO `p.d.report` SELECT o.total FROM orders AS o -- report"
    found, error = of_text(sql, dialect="bigquery")
    assert error is None
    marked = [(sql[start:end].strip("`"), role) for start, end, role in marks(sql, "bigquery", found)]
    assert marked == [("p.d.report", "destination"), ("total", "source"), ("orders", "source")]


@pytest.mark.slow
def test_explain_shows_where_a_table_of_the_demo_shop_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MC_PUSH_HOME", str(tmp_path))
    monkeypatch.setattr(screen, "out", Console(width=40, highlight=False, markup=False, emoji=False))
    found = CliRunner().invoke(lineage, ["explain", "shop.marts.top_customers"])
    assert found.exit_code == 0, found.output
    assert "view shop.marts.top_customers" in found.output
    assert "In database shop:" in found.output
    assert "from marts.dim_customers.full_name\n" in found.output
