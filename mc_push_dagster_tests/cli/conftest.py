"""The command line as a person has it: a working folder of one's own, a small warehouse, and a sandbox that stays."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mc_push_dagster.cli import run, screen
from mc_push_dagster.sandbox import Sandbox, serve

HOSTILE = ('say "hi"', "a.b.c", "snow ☃ 😀", "[red]not markup[/red]", ":smile:", "line\nbreak")
"""Names of tables that DuckDB takes and a screen might not."""
PROGRAM = (sys.executable, "-c", "from mc_push_dagster.cli import main; main()")
"""`mc-push` in a process of its own.

The console script may be of another environment, or missing where the package is only on the path.
"""
SOMEWHERE = "11111111-2222-4333-8444-555555555555"
SECRET = "hunter2-very-secret"


@dataclass(frozen=True)
class Outcome:
    """What a command left on the screen, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def sentence(outcome: Outcome) -> str:
    """The one line on standard error; nothing is on standard output."""
    assert outcome.out == ""
    assert outcome.err.startswith("Error: ")
    assert outcome.err.count("\n") == 1
    return outcome.err.removeprefix("Error: ").rstrip("\n")


Command = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, no keys, a screen of 100 columns."""
    for name in [n for n in os.environ if n.startswith(("MCD_", "MC_"))]:
        monkeypatch.delenv(name)
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(screen.out, "width", 100)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mc_push(capfd: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process and tell what it printed."""

    def command(*arguments: str) -> Outcome:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        assert SECRET not in out + err
        return Outcome(code, out, err)

    return command


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with serve() as box:
        yield box


@pytest.fixture
def resource(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> str:
    """A warehouse of the sandbox for this test alone, to which the environment points."""
    uuid = box.add_warehouse("of one test", "DATA_LAKE")
    for name, value in (box.environment() | {"MCD_RESOURCE_UUID": uuid}).items():
        monkeypatch.setenv(name, value)
    box.clear_faults()
    return uuid


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A configuration of a warehouse with 3 tables and a view."""
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as db:
        db.execute("CREATE TABLE orders AS SELECT i AS id, i * 2 AS amount FROM range(100) t(i)")
        db.execute("CREATE TABLE customers (id INTEGER, name VARCHAR)")
        db.execute("CREATE TABLE empty_one (id INTEGER)")
        db.execute("CREATE VIEW totals AS SELECT sum(amount) AS total FROM orders")
    return written(tmp_path)


@pytest.fixture
def hostile_config(tmp_path: Path) -> str:
    """A configuration of a warehouse whose tables have hostile names."""
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as db:
        for name in HOSTILE:
            quoted = name.replace('"', '""')
            db.execute(f'CREATE TABLE "{quoted}" (id INTEGER)')
    return written(tmp_path)


def written(folder: Path, name: str = "push.yaml", *, path: str = "shop.duckdb", **more: Any) -> str:
    """Write a configuration (JSON is YAML) and return its name."""
    document = {"name": "shop", "warehouse": {"type": "duckdb", "path": path}, **more}
    (folder / name).write_text(json.dumps(document), encoding="utf-8")
    return name


def contents(folder: Path) -> dict[str, str]:
    """Every file below `folder` with the hash of what is in it."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def sent_to(box: Sandbox, resource: str, path: str | None = None) -> list[dict[str, Any]]:
    """The accepted bodies that name a resource."""
    bodies = [json.loads(r.body) for r in box.requests(path) if r.invocation_id is not None and r.body]
    return [body for body in bodies if body["resource"]["uuid"] == resource]
