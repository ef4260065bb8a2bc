"""A real DuckDB warehouse, a real sandbox over HTTP, a real ledger: what a run does and what a person then sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from mc_push_dagster.config import PushConfig
from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.orchestration import resources
from mc_push_dagster.orchestration.build import build_monte_carlo_definitions
from mc_push_dagster.sandbox import Sandbox, serve

CATALOG, LINEAGE = (dg.AssetKey(["monte_carlo", "shop", name]) for name in ("table_catalog", "lineage_graph"))
KEYS = ("MCD_ID", "MCD_TOKEN", "MCD_INGEST_ID", "MCD_INGEST_TOKEN", "MCD_RESOURCE_UUID")
STATE_KEY = "MonteCarloPush[shop]"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with serve(tmp_path_factory.mktemp("sandbox")) as served:
        yield served


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.duckdb"
    sql(path, "CREATE TABLE orders (id INTEGER, amount DECIMAL(9, 2))", "INSERT INTO orders VALUES (1, 9.5), (2, 1)")
    sql(path, "CREATE VIEW revenue AS SELECT sum(amount) AS total FROM orders")
    return path


def sql(path: Path, *statements: str) -> None:
    with closing(duckdb.connect(str(path))) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def defs(shop: Path, box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    monkeypatch.setenv("MC_PUSH_HOME", str(tmp_path / "home"))
    keys = (box.api_key.id, box.api_key.secret, box.ingest_key.id, box.ingest_key.secret, box.resource_uuid)
    for name, value in zip(KEYS, keys, strict=True):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MC_PUSH_INGEST_ENDPOINT", box.ingest_endpoint)
    monkeypatch.setenv("MC_PUSH_API_ENDPOINT", box.api_endpoint)
    config = PushConfig.model_validate({"name": "shop", "warehouse": {"type": "duckdb", "path": str(shop)}})
    return build_monte_carlo_definitions(config)


def push(defs: dg.Definitions, instance: dg.DagsterInstance, **options: Any) -> dg.ExecuteInProcessResult:
    job = defs.resolve_job_def("monte_carlo_shop_hourly_push")
    return job.execute_in_process(instance=instance, raise_on_error=False, **options)


def metadata(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def checks(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str | None]]:
    return {e.check_name: (e.passed, e.description) for e in result.get_asset_check_evaluations()}


def test_a_push_arrives_and_every_check_says_so(defs: dg.Definitions, stateful: dg.DagsterInstance, box) -> None:
    before = len(box.requests())
    result = push(defs, stateful)
    assert result.success
    shown = metadata(stateful, CATALOG)
    assert (shown["mc/tables"], shown["mc/views"], shown["mc/columns"]) == (1, 1, 3)
    sent = {request.invocation_id for request in box.requests()[before:]}
    assert set(shown["mc/invocation_ids"]["METADATA"]) <= sent
    assert metadata(stateful, LINEAGE)["mc/edges"] == 1
    assert Path(shown["mc/manifest"]).is_file()
    assert checks(result) == {
        "receipts_complete": (True, "the newest pushes (catalog, lineage) arrived whole with 3 receipts"),
        "hourly_cadence": (True, "the first full hour is not over yet"),
        "schema_drift": (True, "no table changed its schema"),
    }
    verify = defs.resolve_job_def("monte_carlo_shop_verify_push").execute_in_process(instance=stateful)
    assert checks(verify) == {"verified_in_monte_carlo": (True, "nothing is missing in Monte Carlo")}


def test_a_second_push_in_the_hour_sends_no_volume_and_says_why(
    defs: dg.Definitions, stateful: dg.DagsterInstance
) -> None:
    hours = set()
    for _ in range(2):
        assert push(defs, stateful).success
        hours.add(metadata(stateful, CATALOG)["mc/hour_bucket"])
    if len(hours) == 1:  # else the clock struck between the two
        shown = metadata(stateful, CATALOG)
        assert shown["mc/requests"] == 0
        assert "volume and freshness of 1 tables were not sent" in shown["mc/held_back"]


def test_drift_pushes_the_changed_schema_alone_and_names_it(
    defs: dg.Definitions, stateful: dg.DagsterInstance, shop: Path, box
) -> None:
    assert push(defs, stateful).success
    looked = tick(defs, stateful, None)
    sql(shop, "ALTER TABLE orders ADD COLUMN coupon VARCHAR")
    (request,) = tick(defs, stateful, looked.cursor).run_requests
    before = len(box.requests())
    result = push(defs, stateful, run_config=request.run_config, asset_selection=request.asset_selection)
    assert result.success
    (sent,) = [json_of(r) for r in box.requests()[before:] if "/ingest/" in r.path]
    (event,) = sent["events"]
    assert "volume" not in event["relational_asset"]
    assert "freshness" not in event["relational_asset"]
    (seen,) = stateful.fetch_observations(CATALOG, limit=5).records
    row = seen.asset_observation.metadata["mc/changes"].records[0].data
    assert (row["table"], row["columns added"]) == ("shop.main.orders", "coupon")
    assert len(stateful.fetch_materializations(CATALOG, limit=5).records) == 1


def test_the_drift_check_names_what_changed(defs: dg.Definitions, stateful: dg.DagsterInstance, shop: Path) -> None:
    assert push(defs, stateful).success
    sql(shop, "CREATE TABLE refunds (id INTEGER)")
    result = push(defs, stateful)
    assert checks(result)["schema_drift"] == (False, "1 tables changed their schema")


def test_tables_and_lineage_appear_when_definitions_are_loaded_again(
    defs: dg.Definitions, stateful: dg.DagsterInstance, shop: Path, tmp_path: Path
) -> None:
    assert push(defs, stateful).success
    storage, path = stateful.defs_state_storage, tmp_path / "state"
    assert storage is not None
    version = storage.get_latest_version(STATE_KEY)
    assert version is not None
    storage.download_state_to_path(STATE_KEY, version, path)
    shop.unlink()  # whatever definitions are built from, it is not the warehouse
    config = PushConfig.model_validate({"name": "shop", "warehouse": {"type": "duckdb", "path": str(shop)}})
    loaded = build_monte_carlo_definitions(config, state_path=path)
    specs = {spec.key.to_user_string(): spec for spec in loaded.resolve_all_asset_specs()}
    view = specs["shop/shop/main/revenue"]
    assert [dep.asset_key.to_user_string() for dep in view.deps] == ["shop/shop/main/orders"]
    assert view.kinds == {"duckdb", "view"}


def test_an_hour_of_queries_is_pushed_once_however_often_it_runs(
    defs: dg.Definitions, instance: dg.DagsterInstance, shop: Path
) -> None:
    start = (datetime.now(UTC) - timedelta(hours=2)).replace(minute=10, second=0, microsecond=0)
    sql(
        shop,
        "CREATE TABLE query_log (query_text VARCHAR, started_at TIMESTAMPTZ, ended_at TIMESTAMPTZ)",
        f"INSERT INTO query_log SELECT 'SELECT ' || i, t, t "
        f"FROM range(3) r(i), (SELECT '{start.isoformat()}'::TIMESTAMPTZ t)",
    )
    config = PushConfig.model_validate(
        {"name": "shop", "warehouse": {"type": "duckdb", "path": str(shop), "query_log_table": "main.query_log"}}
    )
    job = build_monte_carlo_definitions(config).resolve_job_def("monte_carlo_shop_query_log_push")
    key, counts = dg.AssetKey(["monte_carlo", "shop", "query_logs"]), []
    for _ in range(2):
        assert job.execute_in_process(instance=instance, partition_key=f"{start:%Y-%m-%d-%H:00}").success
        shown = metadata(instance, key)
        counts.append((shown.get("mc/events/query_log", 0), shown["mc/requests"]))
    assert counts == [(3, 1), (0, 0)]


def test_a_wrong_key_fails_at_once_with_one_sentence(
    defs: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCD_INGEST_TOKEN", "not-the-secret")
    result = push(defs, instance)
    (failed,) = [e for e in result.all_events if e.is_step_failure and "snapshot" in (e.step_key or "")]
    assert not any(e.is_step_up_for_retry for e in result.all_events)
    description = failed.step_failure_data.user_failure_data.description
    assert "401" in description or "key" in description
    assert "not-the-secret" not in str([str(e) for e in result.all_events])


def test_without_any_key_the_sandbox_serves_and_the_demo_never_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MC_PUSH_HOME", str(tmp_path))
    plain = PushConfig(name="shop", warehouse={"type": "duckdb", "path": "x"})
    demo = plain.model_copy(update={"demo": True})
    served = resources.connection_for(plain, {"MC_PUSH_HOME": str(tmp_path)})
    assert served.is_sandbox
    assert resources.connection_for(plain, {"MC_PUSH_HOME": str(tmp_path)}) is served
    real = {"MC_PUSH_HOME": str(tmp_path), "MCD_INGEST_ID": "real", "MCD_INGEST_TOKEN": "key"}
    assert not resources.connection_for(plain, real).is_sandbox
    assert resources.connection_for(demo, real).is_sandbox


def test_half_a_key_is_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FixConfiguration, match="MCD_INGEST_TOKEN"):
        resources.connection_for(PushConfig(name="x", warehouse={}), {"MCD_INGEST_ID": "real"})


def tick(defs: dg.Definitions, instance: dg.DagsterInstance, cursor: str | None) -> Any:
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, definitions=defs, resources=defs.resources
    ) as context:
        return defs.resolve_sensor_def("monte_carlo_shop_schema_drift").evaluate_tick(context)


def json_of(request: Any) -> dict[str, Any]:
    import json

    return json.loads(request.body)
