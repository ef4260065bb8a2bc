"""What a newcomer does: `dagster dev`, one job, a look at the tables. No account, no network, nothing configured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mc_push_dagster_tests.e2e.chromium import CHROMIUM, browser
from mc_push_dagster_tests.e2e.dagster_dev import REPOSITORY, Dev, checkout, dagster_dev, wait_for, worker_peaks
from mc_push_dagster_tests.e2e.screenshots import graph, sandbox

pytestmark = pytest.mark.slow
CATALOG = "monte_carlo/demo/table_catalog"
METADATA = """query($key: AssetKeyInput!) {assetNodeOrError(assetKey: $key) {... on AssetNode {
  freshnessPolicy {__typename}
  assetMaterializations(limit: 1) {metadataEntries {label
    ... on IntMetadataEntry {intValue} ... on TextMetadataEntry {text} ... on JsonMetadataEntry {jsonString}}}
  assetChecksOrError {... on AssetChecks {checks {name executionForLatestMaterialization {status}}}}}}}"""
TICKS = """{instigationStatesOrError: schedulesOrError(repositorySelector: {repositoryLocationName: "mc_push_dagster",
  repositoryName: "__repository__"}) {... on Schedules {results {name cronSchedule scheduleState {status}}}}}"""

SENSORS = """{sensorsOrError(repositorySelector: {repositoryLocationName: "mc_push_dagster",
  repositoryName: "__repository__"}) {... on Sensors {results {name sensorState {status
  ticks(limit: 5) {status skipReason error {message}}}}}}}"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkout") / "a checkout of any name"


@pytest.fixture(scope="module")
def dev(home: Path) -> Iterator[Dev]:
    """`dagster dev` in a fresh checkout, after its first hourly push."""
    with dagster_dev(checkout(home), home / ".mc_push") as started:
        started.run("monte_carlo_demo_hourly_push")
        yield started


def test_it_is_ready_within_a_minute_and_runs_its_schedules(dev: Dev) -> None:
    assert dev.started_in < 60
    schedules = dev.ask(TICKS)["instigationStatesOrError"]["results"]
    assert {s["name"].removeprefix("monte_carlo_demo_"): s["cronSchedule"] for s in schedules} == {
        "hourly_push_schedule": "5 * * * *",
        "verify_push_schedule": "25 * * * *",
        "query_log_push_schedule": "5 * * * *",
    }
    assert {s["scheduleState"]["status"] for s in schedules} == {"RUNNING"}


def test_the_first_push_shows_its_numbers_and_passes_its_checks(dev: Dev) -> None:
    dev.run("monte_carlo_demo_verify_push")
    node = dev.ask(METADATA, {"key": {"path": CATALOG.split("/")}})["assetNodeOrError"]
    entries = {e["label"]: e for e in node["assetMaterializations"][0]["metadataEntries"]}
    assert entries["mc/tables"]["intValue"] + entries["mc/views"]["intValue"] >= 40
    assert json.loads(entries["mc/invocation_ids"]["jsonString"])["METADATA"]
    assert entries["mc/gaps"]["intValue"] == 0
    checks = {c["name"]: c["executionForLatestMaterialization"]["status"] for c in node["assetChecksOrError"]["checks"]}
    assert checks == dict.fromkeys(
        ("receipts_complete", "verified_in_monte_carlo", "hourly_cadence", "schema_drift"), "SUCCEEDED"
    )


def test_the_warehouse_s_tables_appear_with_columns_and_lineage_after_a_reload(dev: Dev) -> None:
    dev.reload()
    shown = {key: node for key, node in dev.assets().items() if key.startswith("demo/")}
    assert len(shown) >= 40
    assert not any(node["isMaterializable"] for node in shown.values())
    assert sum(len(node["dependencyKeys"]) for node in shown.values()) >= 40
    schemas = [e["schema"] for node in shown.values() for e in node["metadataEntries"] if "schema" in e]
    assert len(schemas) == len(shown)
    assert all(schema["columns"] for schema in schemas)


def test_a_second_push_in_the_hour_says_why_it_sends_no_volume(dev: Dev) -> None:
    def latest() -> dict[str, dict[str, Any]]:
        node = dev.ask(METADATA, {"key": {"path": CATALOG.split("/")}})["assetNodeOrError"]
        return {e["label"]: e for e in node["assetMaterializations"][0]["metadataEntries"]}

    before = latest()["mc/hour_bucket"]["text"]
    dev.run("monte_carlo_demo_hourly_push")
    entries = latest()
    same_hour = entries["mc/hour_bucket"]["text"] == before
    assert not same_hour or "Monte Carlo keeps one measurement an hour" in entries["mc/held_back"]["text"]


def test_an_hour_of_the_query_log_is_one_partition(dev: Dev) -> None:
    hour = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%d-%H:00}"
    dev.run("monte_carlo_demo_query_log_push", tags={"dagster/partition": hour})


def test_a_run_worker_stays_below_400_megabytes(home: Path, dev: Dev) -> None:
    peaks: dict[int, int] = {}
    dev.run("monte_carlo_demo_hourly_push", watch=lambda: peaks.update(worker_peaks(home)))
    assert 50e6 < max(peaks.values()) < 400e6, peaks


def test_both_sensors_tick_without_error(dev: Dev) -> None:
    states: dict[str, dict[str, Any]] = {}

    def ticked() -> bool:
        results = dev.ask(SENSORS)["sensorsOrError"]["results"]
        states.update({sensor["name"]: sensor["sensorState"] for sensor in results})
        return all(any(t["status"] != "STARTED" for t in state["ticks"]) for state in states.values())

    wait_for(ticked, timeout=90)
    assert set(states) == {"monte_carlo_demo_schema_drift", "monte_carlo_demo_query_log_backlog"}
    for state in states.values():
        assert state["status"] == "RUNNING"
        assert [tick["error"] for tick in state["ticks"] if tick["error"]] == []
        assert {tick["status"] for tick in state["ticks"]} <= {"STARTED", "SKIPPED", "SUCCESS"}


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")
def test_a_person_sees_the_graph_and_the_sandbox(dev: Dev, home: Path, tmp_path: Path) -> None:
    dev.reload()
    with browser(width=1600, height=1000) as page:
        graph(page, dev, tmp_path / "dagster.png")
        sandbox(page, home / ".mc_push" / "sandbox", tmp_path / "sandbox.png")
        outside = {url for url in page.requested if url.startswith("http") and "//127.0.0.1:" not in url}
    assert outside == set()
    for name in ("dagster.png", "sandbox.png"):
        assert (tmp_path / name).stat().st_size > 30_000


def test_the_two_ways_to_name_the_code_location_agree() -> None:
    """A bare `dagster dev` reads pyproject.toml; with `-w` it reads workspace.yaml."""
    import tomllib

    import yaml

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["dagster"]
    workspace = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())
    assert workspace["load_from"] == [
        {
            "python_module": {
                "module_name": project["module_name"],
                "location_name": project["code_location_name"],
            }
        }
    ]
