"""What a run shows of a push: metadata, gaps, refusals, and Dagster's own picture of the tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from mc_push_dagster import errors
from mc_push_dagster.flow.report import HeldBack, PushReport, SetAside, TableChange, TableLine
from mc_push_dagster.ledger import WindowRecord
from mc_push_dagster.model import Feed, Gap, Window
from mc_push_dagster.orchestration import assets, metadata
from mc_push_dagster.orchestration.state import WarehouseState
from mc_push_dagster_tests.orchestration.fakes import (
    NOW,
    FakeStation,
    edge_record,
    ref,
    report,
    table_record,
    warehouse_of,
)

CATALOG, LINEAGE, LOGS = (
    dg.AssetKey(["monte_carlo", "shop", name]) for name in ("table_catalog", "lineage_graph", "query_logs")
)
STATE_KEY = "MonteCarloPush[shop]"


def run(defs: dg.Definitions, instance: dg.DagsterInstance, **options: Any) -> dg.ExecuteInProcessResult:
    job = defs.resolve_job_def("monte_carlo_shop_hourly_push")
    return job.execute_in_process(
        instance=instance, asset_selection=[CATALOG, LINEAGE], raise_on_error=False, **options
    )


def shown(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def failure(result: dg.ExecuteInProcessResult) -> Any:
    return next(e for e in result.all_node_events if e.is_step_failure).event_specific_data


def test_one_run_pushes_catalog_and_lineage(build, station: FakeStation, instance) -> None:
    assert run(build(), instance).success
    assert station.pusher.calls == ["catalog", "lineage"]
    assert shown(instance, CATALOG) | {
        "mc/invocation_ids": {"METADATA": ["inv-1"]},
        "mc/hour_bucket": "2026-11-20T12:00Z",
        "mc/tables": 3,
        "mc/events/metadata": 3,
        "mc/bytes": 1234,
        "mc/requests": 1,
        "mc/gaps": 0,
        "mc/set_aside": 0,
    } == shown(instance, CATALOG)


def test_one_asset_alone_pushes_that_alone(build, station: FakeStation, instance) -> None:
    job = build().resolve_job_def("monte_carlo_shop_hourly_push")
    assert job.execute_in_process(instance=instance, asset_selection=[LINEAGE]).success
    assert station.pusher.calls == ["lineage"]


def test_gaps_and_events_set_aside_are_listed_by_name(build, station: FakeStation, instance) -> None:
    station.pusher.answer = report(
        gaps=(Gap(subject="shop.raw.secret", reason="permission denied: GRANT SELECT"),),
        set_aside=(SetAside(feed=Feed.METADATA, name="shop.raw.odd", reason="400: bad type"),),
    )
    run(build(), instance)
    found = shown(instance, CATALOG)
    assert (found["mc/gaps"], found["mc/set_aside"]) == (1, 1)
    assert found["mc/gap_list"].records[0].data == {"what": "shop.raw.secret", "why": "permission denied: GRANT SELECT"}
    assert found["mc/set_aside_list"].records[0].data["what"] == "shop.raw.odd"


def test_a_second_push_in_the_hour_says_why_it_sent_no_volume(build, station: FakeStation, instance) -> None:
    station.pusher.answer = report(held_back=HeldBack(tables=42, hour=NOW.replace(minute=0), push_ids=("push-0",)))
    run(build(), instance)
    assert shown(instance, CATALOG)["mc/held_back"] == (
        "volume and freshness of 42 tables were not sent: they went out already in the hour that began at "
        "2026-11-20T12:00Z, by push push-0; Monte Carlo keeps one measurement an hour"
    )


def test_a_table_of_ten_thousand_lines_shows_a_hundred() -> None:
    line = TableLine(ref=ref("d.s.t"), native_type="TABLE", columns=2, row_count=0, byte_count=None, last_change=None)
    rows = metadata.of_report(report(largest=(line,) * 10_000))["mc/largest_tables"].records
    assert len(rows) == 100
    assert rows[0].data == {
        "table": "d.s.t",
        "type": "TABLE",
        "columns": 2,
        "rows": 0,
        "bytes": None,
        "last change": None,
    }


@pytest.mark.parametrize("manifest", ["/data/outbox/p/manifest.json", "file:///data/outbox/p/manifest.json"])
def test_a_local_manifest_is_a_path_one_can_open(manifest: str) -> None:
    link = metadata.of_report(report(manifest=manifest))["mc/manifest"]
    assert isinstance(link, dg.PathMetadataValue)
    assert link.value == "/data/outbox/p/manifest.json"


def test_a_drift_run_pushes_schemas_and_names_what_changed_without_counting_as_a_push(
    build, station: FakeStation, instance
) -> None:
    change = TableChange(ref=ref("shop.raw.orders"), change="changed", columns_added=("coupon",))
    station.pusher.answer = report(changes=(change,))
    station.holds = warehouse_of(table_record("shop.raw.orders"))
    config = {"ops": {"monte_carlo_shop_snapshot": {"config": {"schema_only": True}}}}
    job = build().resolve_job_def("monte_carlo_shop_hourly_push")
    assert job.execute_in_process(instance=instance, asset_selection=[CATALOG], run_config=config).success
    assert station.pusher.calls == ["catalog schemas of shop.raw.orders"]
    assert instance.get_latest_materialization_event(CATALOG) is None
    (record,) = instance.fetch_observations(CATALOG, limit=5).records
    assert record.asset_observation.metadata["mc/changes"].records[0].data["columns added"] == "coupon"


def test_changes_are_named_up_to_fifty() -> None:
    changes = tuple(TableChange(ref=ref(f"d.s.t{n}"), change="added") for n in range(500))
    shown = metadata.of_changes(changes)
    assert shown["mc/changed_tables"] == 500
    assert len(shown["mc/changes"].records) == 50


def test_a_push_uploads_the_tables_once_and_again_only_when_they_change(build, station: FakeStation, stateful) -> None:
    storage = stateful.defs_state_storage
    station.ledger.records = [table_record("shop.raw.a"), table_record("shop.raw.b")]
    station.ledger.edge_records = [edge_record("shop.raw.a", "shop.raw.b")]
    run(build(), stateful)
    first = storage.get_latest_version(STATE_KEY)
    run(build(), stateful)
    assert storage.get_latest_version(STATE_KEY) == first
    station.ledger.records.append(table_record("shop.raw.c"))
    run(build(), stateful)
    assert storage.get_latest_version(STATE_KEY) != first


def test_tables_over_the_budget_are_said_in_the_catalog_s_metadata(build, station: FakeStation, stateful) -> None:
    station.ledger.records = [table_record(f"shop.raw.t{n}") for n in range(20)]
    run(build(represent_tables={"max_tables": 10}), stateful)
    assert shown(stateful, CATALOG)["mc/tables_shown"] == (
        "20 tables are more than max_tables (10): schemas are shown instead"
    )


def test_an_instance_without_state_storage_pushes_all_the_same(build, station: FakeStation, instance) -> None:
    station.ledger.records = [table_record("shop.raw.a")]
    assert instance.defs_state_storage is None
    assert run(build(), instance).success


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (errors.FixAccess("the key may not push to this warehouse"), "the key may not push to this warehouse"),
        (errors.Rejected("field x is wrong"), "field x is wrong"),
        (errors.FixConfiguration("no resource"), "no resource"),
        (errors.BrokenContract("tables came out of order"), "tables came out of order"),
    ],
)
def test_what_a_person_must_mend_fails_at_once(build, station, instance, error: Exception, sentence: str) -> None:
    station.pusher.answer = error
    result = run(build(), instance)
    assert station.pusher.calls == ["catalog"]
    assert failure(result).user_failure_data.description == sentence


@pytest.mark.parametrize(
    "error",
    [
        errors.WarehouseUnavailable("no answer"),
        errors.PushInProgress("another process pushes"),
        errors.StorageFault("disk full"),
        errors.TryAgain("busy"),
    ],
)
def test_what_passes_by_itself_is_tried_again(build, station: FakeStation, instance, error: Exception) -> None:
    station.pusher.answer = error
    assert not run(build(op={"max_retries": 2, "retry_delay_seconds": 0}), instance).success
    assert station.pusher.calls == ["catalog"] * 3


def test_the_gateway_s_own_delay_is_kept(build, station: FakeStation, instance) -> None:
    station.pusher.answer = errors.TryAgain("slow down", retry_after=0.01)
    result = run(build(op={"max_retries": 1, "retry_delay_seconds": 3600}), instance)
    waits = [e.step_retry_data.seconds_to_wait for e in result.all_node_events if e.is_step_up_for_retry]
    assert waits == [0.01]


def test_a_push_that_broke_off_shows_every_id_it_got(build, station: FakeStation, instance) -> None:
    station.pusher.answer = errors.PushIncomplete(
        "2 of 5 bodies did not arrive", push_id="push-9", invocation_ids={Feed.METADATA: ("a", "b", "c")}
    )
    found = failure(run(build(op={"max_retries": 0}), instance)).user_failure_data
    assert found.description == "2 of 5 bodies did not arrive"
    assert found.metadata["mc/push_id"].value == "push-9"
    assert found.metadata["mc/invocation_ids"].value == {"METADATA": ["a", "b", "c"]}


def test_each_hour_of_a_backfill_run_shows_its_own_push(build, station: FakeStation, instance) -> None:
    job = build().resolve_job_def("monte_carlo_shop_query_log_push")
    tags = {
        "dagster/asset_partition_range_start": "2026-11-20-08:00",
        "dagster/asset_partition_range_end": "2026-11-20-10:00",
    }
    assert job.execute_in_process(instance=instance, tags=tags).success
    assert station.pusher.calls == [
        f"query logs 2026-11-20T{h:02d}:00:00Z/2026-11-20T{h + 1:02d}:00:00Z" for h in (8, 9, 10)
    ]
    records = instance.fetch_materializations(LOGS, limit=5).records
    assert {r.partition_key for r in records} == {f"2026-11-20-{h:02d}:00" for h in (8, 9, 10)}
    assert all(r.asset_materialization.metadata["mc/push_id"].value == "push-1" for r in records)


def test_a_range_that_broke_off_goes_on_with_the_hour_that_failed(build, station: FakeStation, instance) -> None:
    failures = iter([None, errors.WarehouseUnavailable("gone")])

    def push_query_logs(window: Window, *, progress: Any = None) -> PushReport:
        station.pusher.calls.append(f"{window.start:%H}")
        if (error := next(failures, None)) is not None:
            raise error
        now = datetime.now(UTC)
        station.ledger.window_records.append(
            WindowRecord(window=window, push_id=f"push-{window.start:%H}", queries=1, complete=True, updated_at=now)
        )
        return report(push_id=f"push-{window.start:%H}")

    station.pusher.push_query_logs = push_query_logs  # type: ignore[method-assign]
    job = build(op={"retry_delay_seconds": 0}).resolve_job_def("monte_carlo_shop_query_log_push")
    tags = {
        "dagster/asset_partition_range_start": "2026-11-20-08:00",
        "dagster/asset_partition_range_end": "2026-11-20-10:00",
    }
    assert job.execute_in_process(instance=instance, tags=tags).success
    assert station.pusher.calls == ["08", "09", "09", "10"]
    records = instance.fetch_materializations(LOGS, limit=5).records
    found = {r.partition_key[-5:-3]: r.asset_materialization.metadata["mc/push_id"].value for r in records}
    assert found == {"08": "push-08", "09": "push-09", "10": "push-10"}


def test_hooks_change_specs_and_work(build, station: FakeStation, instance) -> None:
    def execute(context: dg.AssetExecutionContext, opened: Any) -> Iterator[dg.MaterializeResult]:
        yield dg.MaterializeResult(asset_key=CATALOG, metadata={"mine": opened.target.log_type})

    def push_spec(name: str, spec: dg.AssetSpec) -> dg.AssetSpec:
        return spec.replace_attributes(owners=["team:mine"]) if name == "table_catalog" else spec

    defs = build({"execute": execute, "get_push_spec": push_spec})
    job = defs.resolve_job_def("monte_carlo_shop_hourly_push")
    assert job.execute_in_process(instance=instance, asset_selection=[CATALOG]).success
    assert shown(instance, CATALOG) == {"mine": "generic"}
    assert station.pusher.calls == []
    assert defs.resolve_assets_def(CATALOG).specs_by_key[CATALOG].owners == ["team:mine"]


def test_no_push_asset_depends_on_tables(build) -> None:
    """10,000 dependencies would cost 35 s a run."""
    specs = {s.key: s for s in build().resolve_all_asset_specs()}
    assert [list(specs[key].deps) for key in (CATALOG, LINEAGE, LOGS)] == [[], [], []]


def test_push_assets_say_what_they_are(build) -> None:
    defs = build(owners=["team:data"], group="observability", freshness={"warn_minutes": 70, "fail_minutes": 90})
    spec = defs.resolve_assets_def(CATALOG).specs_by_key[CATALOG]
    assert spec.kinds == {"montecarlo", "duckdb"}
    assert (list(spec.owners), spec.group_name, spec.skippable) == (["team:data"], "observability", True)
    assert spec.freshness_policy == dg.FreshnessPolicy.time_window(timedelta(minutes=90), timedelta(minutes=70))
    op = defs.resolve_assets_def(CATALOG).op
    assert op.pool == "mc_push_shop"
    assert op.retry_policy.max_retries == 3


def test_nothing_that_a_run_stores_holds_the_warehouse_s_settings(build, station: FakeStation, instance) -> None:
    result = run(build(), instance)
    events = json.dumps([str(e) for e in result.all_events])
    assert "nowhere.duckdb" not in events


def test_the_default_work_covers_each_asset(build) -> None:
    assert set(assets.DESCRIPTIONS) == {"table_catalog", "lineage_graph", "query_logs"}
    assert WarehouseState().total == 0
