"""docs/iomete.md works as it stands: its commands, from an empty folder, with a real Spark server and the sandbox."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mc_push_dagster.sandbox import serve
from mc_push_dagster_tests.spark.engine import Engine

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "iomete.md"
DEPLOYMENT = "8ba0a4f5-0d3b-4c8f-9a51-0f3b6f0d9c11"
PASSWORD = "walk-password-1!"
MADE = (
    "CREATE DATABASE walk",
    "CREATE TABLE walk.orders (id BIGINT, amount DECIMAL(10,2), region STRING) USING iceberg",
    "INSERT INTO walk.orders VALUES (1, 10.5, 'eu'), (2, 5, 'us')",
    "CREATE TABLE walk.by_region USING iceberg AS SELECT region, sum(amount) AS total FROM walk.orders GROUP BY region",
    "CREATE VIEW walk.europe AS SELECT id, amount FROM walk.orders WHERE region = 'eu'",
    "SELECT * FROM walk.nothing_there",
)


def blocks() -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.M | re.S)


def an_hour_ago(engine: Engine, folder: Path) -> Path:
    """The server's own event log as it looks in an hour: an hour's query log goes out when the hour is over."""
    shift = int(timedelta(hours=1).total_seconds() * 1000)
    target = folder / "events" / "eventlog_v2_walk"
    target.mkdir(parents=True)
    for path in engine.events.glob("*/events_*"):
        text = path.read_text(encoding="utf-8")
        times = r'("(?:startTime|finishTime|closeTime)":)(\d+)'
        moved = re.sub(times, lambda m: f"{m[1]}{int(m[2]) - shift}", text)
        (target / path.name).write_text(moved, encoding="utf-8")
    return target.parent


def run_statements(engine: Engine) -> None:
    from pyhive.exc import OperationalError

    *good, bad = MADE
    engine.run(*good, user="walker")
    with pytest.raises(OperationalError):
        engine.run(bad, user="walker")


@pytest.fixture
def walked(iceberg: Engine) -> Iterator[Engine]:
    run_statements(iceberg)
    yield iceberg
    iceberg.run("DROP VIEW walk.europe", "DROP TABLE walk.by_region", "DROP TABLE walk.orders", "DROP DATABASE walk")


@pytest.mark.spark
@pytest.mark.timeout(420)
def test_the_guide_from_an_empty_folder_to_an_hourly_push(walked: Engine, tmp_path: Path):
    time.sleep(0.2)  # the server writes its log a moment after it answers
    events = an_hour_ago(walked, tmp_path)
    home = tmp_path / "newcomer"
    home.mkdir()
    with serve(tmp_path / "box") as box:
        given = box.environment()
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            **{
                name: given[name] for name in ("MC_PUSH_INGEST_ENDPOINT", "MC_PUSH_API_ENDPOINT", "MCD_ID", "MCD_TOKEN")
            },
            "LAKEHOUSE_URL": walked.url,
            "LAKEHOUSE_USER": "monte_carlo_service",
            "MC_PUSH_SPARK_PASSWORD": PASSWORD,
            "LAKEHOUSE_EVENTS": str(events),
            "MC_PUSH_DEPLOYMENT": DEPLOYMENT,
            "LAKEHOUSE_BINARY_HOST": "127.0.0.1",
            "LAKEHOUSE_BINARY_PORT": str(walked.binary_port),
        }
        script = "\n".join(f"echo '### block {n}'\n{block}" for n, block in enumerate(blocks(), 1))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=400,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-4000:]
        assert PASSWORD not in said
        arrived = [json.loads(r.body) for r in box.requests() if r.path.startswith("/ingest/") and r.status < 300]
    check_what_arrived(arrived, home)


def check_what_arrived(bodies: list[dict], home: Path) -> None:
    uuid = (home / "integration.env").read_text().strip().removeprefix("MCD_RESOURCE_UUID=")
    assert {body["resource"]["uuid"] for body in bodies} == {uuid}, "one resource for metadata, lineage and logs"
    kinds = {body["event_type"]: body["resource"] for body in bodies}
    assert kinds["METADATA"]["resource_type"] == kinds["LINEAGE"]["resource_type"] == "spark"
    assert kinds["QUERY_LOG"]["log_type"] == "databricks-metastore-sql-warehouse"

    assets = {
        e["metadata"]["name"]: e for b in bodies if b["event_type"] == "METADATA" for e in map(asset, b["events"])
    }
    orders = assets["orders"]
    assert (orders["metadata"]["database"], orders["metadata"]["schema"]) == ("walk", "default")
    assert orders["volume"]["row_count"] == 2
    assert datetime.fromisoformat(orders["freshness"]["last_update_time"]) <= datetime.now(UTC)
    assert assets["europe"]["type"] == "VIEW"
    assert "volume" not in assets["europe"]

    edges = {
        (source["name"], event["destination"]["name"])
        for b in bodies
        if b["event_type"] == "LINEAGE"
        for event in b["events"]
        for source in event["sources"]
    }
    assert {("orders", "by_region"), ("orders", "europe")} <= edges
    named = {
        (node["database"], node["schema"], node["name"])
        for b in bodies
        if b["event_type"] in ("LINEAGE", "COLUMN_LINEAGE")
        for event in b["events"]
        for node in [*event["sources"], event["destination"]]
    }
    known = {(a["metadata"]["database"], a["metadata"]["schema"], a["metadata"]["name"]) for a in assets.values()}
    # The server's log also tells of tables of other tests, which are gone.
    ours = {name for name in named if "walk" in name}
    assert {("walk", "default", "orders"), ("walk", "default", "europe")} <= ours <= known, "lineage joins the catalog"

    queries = [e for b in bodies if b["event_type"] == "QUERY_LOG" for e in b["events"]]
    walked = {q["query_text"]: q for q in queries if q.get("user") == "walker"}
    assert set(MADE) <= set(walked)
    assert walked["SELECT * FROM walk.nothing_there"]["error_code"] == "TABLE_OR_VIEW_NOT_FOUND"
    assert not [q for q in queries if "mc-push-dagster" in q["query_text"]]
    assert len(queries) == len({q["query_id"] for q in queries})

    secrets = home / "push.env"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    assert "MCD_INGEST_TOKEN=" in secrets.read_text()


def asset(event: dict) -> dict:
    """A metadata event's asset, wherever the wire puts it."""
    return event.get("relational_asset", event)


def test_every_command_of_the_guide_is_ours_and_every_setting_exists():
    """Without a server: a renamed command or setting is found in seconds."""
    from mc_push_dagster.cli import COMMANDS
    from mc_push_dagster.warehouses.hive import HiveSettings
    from mc_push_dagster.warehouses.spark import SparkSettings

    text = GUIDE.read_text(encoding="utf-8")
    used = set(re.findall(r"mc-push ([a-z]+)", "\n".join(blocks())))
    assert used <= set(COMMANDS)
    assert {"setup", "push", "verify", "doctor"} <= used
    for name in (
        "catalogs",
        "names",
        "file_measures",
        "event_log",
        "event_log_index",
        "ignore_users",
        "server_time_zone",
    ):
        assert f"`{name}" in text or f"{name}:" in text
        assert name in SparkSettings.model_fields
    for name in ("row_counts", "query_log"):
        assert name in HiveSettings.model_fields
