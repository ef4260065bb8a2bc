"""What an edge is worth and where its source lives: second opinion, native lineage, processes, other resources."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from mc_push_dagster.config import MonteCarloConfig, PushConfig
from mc_push_dagster.errors import FixAccess, FixConfiguration, MissingExtra, PushIncomplete
from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster.gateway.ingest import IngestGateway
from mc_push_dagster.lineage import opinion, workers
from mc_push_dagster.model import ColumnEdge, Evidence, EvidenceKind, Feed, LineageEdge, Target
from mc_push_dagster.sandbox import Sandbox, serve
from mc_push_dagster_tests.flow.harness import NOON, UUID, Desk, Recorder, Shop, config, desk, query, ref, table, view

NATIVE = Evidence(kind=EvidenceKind.NATIVE)
CRM_UUID = "99999999-2222-4333-8444-555555555555"
CRM = {"crm*": {"resource_uuid": CRM_UUID.upper(), "resource_type": "postgres"}}
DISPUTED = "INSERT INTO mart SELECT id, price FROM orders ORDER BY (SELECT max(id) FROM users)"
"""openlineage-sql does not look into ORDER BY."""


def settings(**more: Any) -> PushConfig:
    return PushConfig.model_validate(config().model_dump() | more)


def shop() -> Shop:
    return Shop(table("orders", "id", "price"), table("users"), table("mart", "id", "price"))


def station(folder: Path, *log: str, **more: Any) -> Desk:
    at = desk(folder, shop=shop(), gateway=Recorder(), settings=settings(**more))
    at.shop.log = [query(n, NOON - timedelta(hours=2, seconds=-n), text) for n, text in enumerate(log)]
    return at


def sent(at: Desk, feed: Feed = Feed.LINEAGE) -> list[tuple[str, list[str]]]:
    assert isinstance(at.gateway, Recorder)
    return [(e["destination"]["name"], [s["name"] for s in e["sources"]]) for e in at.gateway.events(feed)]


def native(source: str, destination: str = "mart") -> LineageEdge:
    return LineageEdge(source=ref(source), destination=ref(destination), evidence=NATIVE)


def native_column(source: str, column: str) -> ColumnEdge:
    return ColumnEdge(
        source=ref(source), source_column=column, destination=ref("mart"), destination_column=column, evidence=NATIVE
    )


def confidences(at: Desk) -> dict[str, float]:
    return {r.edge.source.name: r.edge.evidence.confidence for r in at.ledger.edges(UUID)}


@pytest.mark.parametrize(("wanted", "pushed"), [(False, 1), ("auto", 0), (True, 0)])
def test_an_edge_that_a_second_parser_disputes_is_kept_and_not_pushed(
    tmp_path: Path, wanted: bool | str, pushed: int
) -> None:
    pytest.importorskip("openlineage_sql", reason="openlineage-sql (extra second-opinion) is not installed")
    at = station(tmp_path, DISPUTED, lineage_second_opinion=wanted, minimum_confidence=0.8)
    report = at.pusher.push_lineage()
    assert len(sent(at)) == pushed
    assert confidences(at).keys() == {"orders", "users"}, "the ledger has them either way"
    assert report.counts.get("edges_below_confidence", 0) == (0 if pushed else 4), "two of tables, two of columns"


def test_agreement_of_two_parsers_raises_the_confidence(tmp_path: Path) -> None:
    pytest.importorskip("openlineage_sql", reason="openlineage-sql (extra second-opinion) is not installed")
    at = station(tmp_path, "INSERT INTO mart SELECT id, price FROM orders", minimum_confidence=0.98)
    at.pusher.push_lineage()
    assert sent(at) == [("mart", ["orders"])]


def test_a_second_opinion_that_is_not_installed_is_refused_only_where_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opinion._parser.cache_clear()
    monkeypatch.setitem(sys.modules, "openlineage_sql", None)
    at = station(tmp_path / "wanted", DISPUTED, lineage_second_opinion=True)
    with pytest.raises(MissingExtra, match=r"^A second opinion on lineage needs .*mc-push-dagster\[second-opinion\]'$"):
        at.pusher.push_lineage()
    assert issubclass(MissingExtra, FixConfiguration)
    assert sent(at) == []
    at = station(tmp_path / "auto", DISPUTED)
    at.pusher.push_lineage()
    assert sent(at) == [("mart", ["orders", "users"])]
    opinion._parser.cache_clear()


def test_a_text_that_would_overflow_the_second_parser_is_not_shown_to_it(tmp_path: Path) -> None:
    pytest.importorskip("openlineage_sql", reason="openlineage-sql (extra second-opinion) is not installed")
    long = f"INSERT INTO mart SELECT id, {'+'.join(['1'] * 30_000)} AS price FROM orders"
    assert opinion.SecondOpinion("duckdb").agrees(long, {"shop.main.orders"}, "shop.main.mart") is None


def test_native_lineage_lowers_what_it_does_not_confirm_and_keeps_what_the_text_does_not_show(tmp_path: Path) -> None:
    log = "INSERT INTO mart SELECT id, price FROM orders"
    alone = station(tmp_path / "alone", log, lineage_second_opinion=False, minimum_confidence=0.9)
    alone.pusher.push_lineage()
    assert sent(alone) == [("mart", ["orders"])]
    assert len(sent(alone, Feed.COLUMN_LINEAGE)) == 1
    beside = station(tmp_path / "beside", log, lineage_second_opinion=False, minimum_confidence=0.9)
    beside.shop.native = [native("users")]
    report = beside.pusher.push_lineage()
    assert sent(beside) == [("mart", ["users"])], "0.97 x 0.85 is below 0.9; native is 1"
    assert sent(beside, Feed.COLUMN_LINEAGE) == [], "columns follow their tables"
    assert report.counts["edges_below_confidence"] == 3
    assert confidences(beside)["orders"] == 0.97, "the ledger keeps what the text itself is worth"


def test_what_native_lineage_confirms_is_native(tmp_path: Path) -> None:
    at = station(
        tmp_path,
        "INSERT INTO mart SELECT id, price FROM orders",
        lineage_second_opinion=False,
        minimum_confidence=0.9,
    )
    at.shop.native = [native("orders")]
    at.pusher.push_lineage()
    assert sent(at) == [("mart", ["orders"])]
    [columns] = at.gateway.events(Feed.COLUMN_LINEAGE)  # type: ignore[attr-defined]
    assert [f["name"] for f in columns["fields"]] == ["id", "price"], "a warehouse that knows tables only confirms them"


def test_native_columns_weigh_on_columns(tmp_path: Path) -> None:
    at = station(
        tmp_path,
        "INSERT INTO mart SELECT id, price FROM orders",
        lineage_second_opinion=False,
        minimum_confidence=0.9,
    )
    at.shop.native = [native("orders"), native_column("orders", "id")]
    at.pusher.push_lineage()
    [columns] = at.gateway.events(Feed.COLUMN_LINEAGE)  # type: ignore[attr-defined]
    assert [f["name"] for f in columns["fields"]] == ["id"]


def test_two_processes_find_the_same_edges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pools: list[int] = []

    class Pool(ProcessPoolExecutor):
        def __init__(self, processes: int, **more: Any) -> None:
            pools.append(processes)
            super().__init__(processes, **more)

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Pool)
    log = [f"INSERT INTO mart SELECT id + {n}, price FROM orders" for n in range(20)]
    log += ["CREATE TEMP TABLE t AS SELECT id FROM users", "INSERT INTO mart (id) SELECT id FROM t"]
    found: list[list[Any]] = []
    for count in (1, 2):
        at = station(tmp_path / str(count), *log, lineage_workers=count)
        at.shop.stock.append(view("v", "SELECT id FROM orders", "id"))
        at.shop.log = [replace(q, session_id="s") for q in at.shop.log]
        at.pusher.push_lineage()
        found.append([[r.edge for r in at.ledger.edges(UUID, columns=columns)] for columns in (False, True)])
    assert found[0] == found[1]
    assert pools == [2], "the catalog can go to other processes"
    assert len(found[0][0]) == 3


def crossing_log(at: Desk) -> None:
    at.shop.log = [
        query(1, NOON - timedelta(hours=2), "INSERT INTO mart SELECT id, price FROM crm_eu.main.deals"),
        query(2, NOON - timedelta(hours=2), "INSERT INTO users SELECT id FROM orders"),
    ]


def bodies(at: Desk) -> list[dict[str, Any]]:
    assert isinstance(at.gateway, Recorder)
    return [orjson.loads(body) for _, body in at.gateway.bodies]


def homes(at: Desk) -> set[str | None]:
    edges = (r.edge for r in at.ledger.edges(UUID, destination=ref("mart")))
    return {e.source_target.resource_uuid if e.source_target else None for e in edges}


def test_a_source_in_a_database_of_another_resource_crosses_and_goes_last(tmp_path: Path) -> None:
    at = desk(tmp_path, shop=shop(), gateway=Recorder(), settings=settings(other_resources=CRM))
    crossing_log(at)
    at.pusher.push_lineage()
    assert [("resource" in body, body["event_type"]) for body in bodies(at)] == [
        (True, "LINEAGE"), (True, "COLUMN_LINEAGE"), (False, "LINEAGE"), (False, "COLUMN_LINEAGE"),
    ]  # fmt: skip
    [event] = bodies(at)[2]["events"]
    assert [(s["resource_uuid"], s["resource_type"]) for s in event["sources"]] == [(CRM_UUID, "postgres")]
    assert event["destination"]["resource_uuid"] == UUID
    assert at.pusher.push_lineage().requests == 0


def test_a_database_declared_to_be_the_pushed_resource_itself_crosses_nothing(tmp_path: Path) -> None:
    own = {"*": {"resource_uuid": UUID, "resource_type": "data-lake"}}
    at = desk(tmp_path, shop=shop(), gateway=Recorder(), settings=settings(other_resources=own))
    crossing_log(at)
    at.pusher.push_lineage()
    assert all("resource" in body for body in bodies(at))


def test_a_changed_declaration_takes_the_old_edges_place(tmp_path: Path) -> None:
    other = {"crm_eu": {"resource_uuid": CRM_UUID.replace("9", "8"), "resource_type": "postgres"}}
    wanted: list[tuple[dict[str, Any], set[str | None]]] = [
        ({}, {None}),
        (CRM, {CRM_UUID}),
        (other, {CRM_UUID.replace("9", "8")}),
        ({}, {None}),
    ]
    for declared, expected in wanted:
        at = desk(tmp_path, shop=shop(), gateway=Recorder(), settings=settings(other_resources=declared))
        crossing_log(at)
        report = at.pusher.push_lineage()
        assert homes(at) == expected
        assert report.counts["edges"] >= 1, "the edge goes out anew"


def test_a_manifest_carries_the_other_resource(tmp_path: Path) -> None:
    at = desk(tmp_path / "here", shop=shop(), gateway=Recorder(), settings=settings(other_resources=CRM))
    crossing_log(at)
    manifest = at.pusher.collect(tmp_path / "manifests")
    there = desk(tmp_path / "there", shop=Shop(), gateway=Recorder())
    there.pusher.push_manifest(manifest)
    assert homes(there) == {CRM_UUID}
    crossing = [body for body in bodies(there) if "resource" not in body]
    assert [body["event_type"] for body in crossing] == ["LINEAGE", "COLUMN_LINEAGE"]


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with serve(lenient=True) as running:
        yield running


def over_http(folder: Path, box: Sandbox, *, covers: tuple[str, ...]) -> tuple[Desk, str, str]:
    """A pusher with a key that covers those of the resources `own` and `crm`; and their UUIDs."""
    uuids = {"own": box.add_warehouse("own", "DATA_LAKE"), "crm": box.add_warehouse("crm", "POSTGRES")}
    key = box.add_key(warehouses=[uuids[name] for name in covers])
    keys = {"MCD_INGEST_ID": key.id, "MCD_INGEST_TOKEN": key.secret}
    connection = Connection.from_environment(MonteCarloConfig(), box.environment() | keys)
    assert connection is not None
    at = desk(
        folder,
        shop=shop(),
        gateway=IngestGateway(connection, timeout_seconds=20.0),
        target=Target(resource_uuid=uuids["own"], resource_type="data-lake", log_type="hive-s3"),
        settings=settings(other_resources={"crm_eu": {"resource_uuid": uuids["crm"], "resource_type": "postgres"}}),
    )
    crossing_log(at)
    return at, uuids["own"], uuids["crm"]


def test_a_crossing_edge_reaches_the_sandbox_with_a_resource_for_each_asset(tmp_path: Path, box: Sandbox) -> None:
    at, own, crm = over_http(tmp_path, box, covers=("own", "crm"))
    report = at.pusher.push_lineage()
    assert len(report.invocation_ids[Feed.LINEAGE]) == 2
    [event] = [e for e in box.events("lineage") if e["destination"].get("resource_uuid") == own and "fields" not in e]
    assert [(s["resource_uuid"], s["database"]) for s in event["sources"]] == [(crm, "crm_eu")]
    at.gateway.close()  # type: ignore[attr-defined]


def test_a_key_without_the_other_resource_is_refused_by_its_name_and_all_else_arrives(
    tmp_path: Path, box: Sandbox
) -> None:
    at, _, crm = over_http(tmp_path, box, covers=("own",))
    with pytest.raises(PushIncomplete, match=crm) as refused:
        at.pusher.push_lineage()
    assert isinstance(refused.value.__cause__, FixAccess)
    assert {feed: len(ids) for feed, ids in refused.value.invocation_ids.items()} == {
        Feed.LINEAGE: 1,
        Feed.COLUMN_LINEAGE: 1,
    }
    at.gateway.close()  # type: ignore[attr-defined]
