"""Two deployments that share a PostgreSQL ledger send each table's hour once, whoever comes first."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from mc_push_dagster.sandbox import Sandbox
from mc_push_dagster_tests.cli.conftest import PROGRAM, Command, sent_to, written
from mc_push_dagster_tests.ledger import postgres


@pytest.fixture(scope="module")
def ledger_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if reason := postgres.why_not():
        pytest.skip(reason)
    with postgres.server(tmp_path_factory.mktemp("postgres")) as url:
        yield url


def measured(box: Sandbox, resource: str) -> Counter[str]:
    """How often volume or freshness of each table arrived."""
    assets = (e["relational_asset"] for b in sent_to(box, resource, "metadata") for e in b["events"])
    return Counter(a["metadata"]["name"] for a in assets if "volume" in a or "freshness" in a)


def test_the_second_deployment_in_the_hour_says_why_it_sends_nothing(
    mc_push: Command,
    box: Sandbox,
    resource: str,
    config: str,
    tmp_path: Path,
    ledger_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = written(tmp_path, ledger=ledger_url)
    monkeypatch.setenv("MC_PUSH_HOME", str(tmp_path / "one"))
    first = mc_push("push", "--config", name, "--json").json["reports"][0]
    monkeypatch.setenv("MC_PUSH_HOME", str(tmp_path / "two"))
    second = mc_push("push", "--config", name)
    assert second.code == 0, second.err
    assert first["push_id"] in second.out
    assert set(measured(box, resource).values()) == {1}
    assert mc_push("verify", "--config", name, "--json").json["complete"] is True
    assert "postgresql+psycopg://ledger@127.0.0.1" in mc_push("doctor", "--config", name, "--json").out


def test_two_deployments_that_start_at_once_send_each_table_once(
    box: Sandbox, resource: str, tmp_path: Path, ledger_url: str
) -> None:
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as db:
        for n in range(200):
            db.execute(f"CREATE TABLE t{n:03} AS SELECT {n} AS id")
    name = written(tmp_path, ledger=ledger_url, delivery={"max_events": 20})
    processes = [
        subprocess.Popen(
            [*PROGRAM, "push", "--config", name, "--json"],
            env=os.environ | {"MC_PUSH_HOME": str(tmp_path / home)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for home in ("one", "two")
    ]
    documents = [json.loads(process.communicate(timeout=90)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert measured(box, resource) == Counter({f"t{n:03}": 1 for n in range(200)})
    pushed = sum(d["reports"][0]["counts"].get("tables", 0) for d in documents)
    assert pushed >= 200
