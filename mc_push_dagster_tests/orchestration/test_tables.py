"""Tables as external assets: the byte budget, lineage without cycles, names as they are."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_push_dagster.model import Scope, TablePattern
from mc_push_dagster.orchestration.settings import RepresentTables
from mc_push_dagster.orchestration.state import TableState, WarehouseState, gather
from mc_push_dagster.orchestration.tables import Detail, acyclic, estimated_bytes, fit, group_name, table_specs
from mc_push_dagster_tests.orchestration.fakes import edge_record, table_record


@lru_cache(maxsize=4)
def big(tables: int, columns: int = 20) -> WarehouseState:
    """A warehouse of `tables` tables in ten schemas, each fed by the one before."""
    names = tuple(sorted(("db", f"s{n % 10}", f"t{n:06d}") for n in range(tables)))
    types = tuple((f"column_{n:02d}", "VARCHAR", None) for n in range(columns))
    edges = tuple(sorted(pairwise(names)))
    return WarehouseState(
        tables=tuple(TableState(parts=n, view=False, native_type="BASE TABLE", columns=types) for n in names),
        edges=edges,
        column_edges=tuple((s, c[0], d, c[0]) for s, d in edges for c in types),
        schemas=tuple((("db", f"s{n}"), len(range(n, tables, 10))) for n in range(min(tables, 10))),
        schema_edges=((("db", "s0"), ("db", "s1")), (("db", "s1"), ("db", "s0"))),
    )


def specs(state: WarehouseState, **settings: object) -> list[dg.AssetSpec]:
    return table_specs(
        state,
        RepresentTables.model_validate(settings),
        warehouse="shop",
        warehouse_type="duckdb",
        get_asset_spec=lambda props, spec: spec,
    )


SMALL = gather(
    [table_record("db.raw.orders"), table_record("db.marts.sales", ("day", "DATE"))],
    [edge_record("db.raw.orders", "db.marts.sales")],
    [],
    scope=Scope(),
    max_tables=10,
)


def test_a_table_carries_columns_lineage_and_the_name_by_which_dagster_links_it() -> None:
    sales = next(spec for spec in specs(SMALL) if spec.key.path[-1] == "sales")
    assert sales.key == dg.AssetKey(["shop", "db", "marts", "sales"])
    assert [dep.asset_key for dep in sales.deps] == [dg.AssetKey(["shop", "db", "raw", "orders"])]
    assert sales.metadata["dagster/table_name"] == "db.marts.sales"
    assert sales.metadata["dagster/storage_kind"] == "duckdb"
    assert [(c.name, c.type) for c in sales.metadata["dagster/column_schema"].columns] == [("day", "DATE")]
    assert sales.kinds == {"duckdb", "table"}
    assert sales.group_name == "db__marts"


def test_column_lineage_is_shown_when_asked_for_and_only_then() -> None:
    state = big(2, columns=2)
    assert not any("dagster/column_lineage" in spec.metadata for spec in specs(state))
    second = specs(state, column_lineage=True)[1]
    lineage = second.metadata["dagster/column_lineage"].deps_by_column
    assert {c: [(d.asset_key.path[-1], d.column_name) for d in deps] for c, deps in lineage.items()} == {
        "column_00": [("t000000", "column_00")],
        "column_01": [("t000000", "column_01")],
    }


@pytest.mark.parametrize(
    ("tables", "settings", "detail", "shown"),
    [
        (100, {"column_lineage": True}, Detail.COLUMN_LINEAGE, 100),
        (100, {}, Detail.COLUMNS, 100),
        (100, {"columns": False}, Detail.TABLES, 100),
        (100, {"mode": "none"}, Detail.NONE, 0),
        (100, {"mode": "schema"}, Detail.SCHEMAS, 0),
        (0, {}, Detail.NONE, 0),
        # 10,000 tables of 20 columns: 29 MB plain, 71 MB with columns, 105 MB with their lineage.
        (
            10_000,
            {"max_tables": 20_000, "max_bytes": 110_000_000, "column_lineage": True},
            Detail.COLUMN_LINEAGE,
            10_000,
        ),
        (10_000, {"max_tables": 20_000, "max_bytes": 80_000_000, "column_lineage": True}, Detail.COLUMNS, 10_000),
        (10_000, {"max_tables": 20_000}, Detail.TABLES, 10_000),
        (10_000, {"max_tables": 20_000, "max_bytes": 1_000_000}, Detail.SCHEMAS, 0),
        (10_000, {"max_tables": 20_000, "max_bytes": 20_000}, Detail.NONE, 0),
        (10_000, {}, Detail.SCHEMAS, 0),
        (10_000, {"mode": "table"}, Detail.COLUMNS, 5000),
        (10_000, {"mode": "table", "max_bytes": 10_000}, Detail.TABLES, 3),
    ],
)
def test_the_budget_takes_away_the_least_that_helps(
    tables: int, settings: dict[str, object], detail: Detail, shown: int
) -> None:
    state, chosen = big(tables), RepresentTables.model_validate(settings)
    found = fit(state, chosen)
    assert (found.detail, found.tables) == (detail, shown)
    assert estimated_bytes(state, found.detail, found.tables) <= chosen.max_bytes


def test_what_is_left_out_is_said_with_the_setting_that_would_bring_it_back() -> None:
    notes = fit(big(10_000), RepresentTables(max_tables=20_000, max_bytes=1_000_000)).notes
    assert [note.split(" are left out")[0] for note in notes] == ["columns", "single tables"]
    assert all("max_bytes (1000000)" in note for note in notes)
    assert fit(SMALL, RepresentTables()).notes == ()


def test_ten_thousand_tables_stay_within_what_dagster_can_load() -> None:
    loaded = dg.Definitions(assets=specs(big(10_000), max_tables=20_000))
    assert len(loaded.resolve_all_asset_specs()) == 10_000
    assert len(specs(big(10_000))) == 10


def test_schemas_stand_in_for_tables_with_their_own_lineage() -> None:
    shown = specs(big(50), mode="schema")
    assert [spec.key.path for spec in shown] == [["shop", "db", f"s{n}"] for n in range(10)]
    assert sum(len(list(spec.deps)) for spec in shown) == 1  # s0 -> s1 -> s0 is a cycle; Dagster refuses those


def test_hostile_names_load() -> None:
    names = ['db.raw.weird "name"', "db.odd-schema.ünï çode", "db.raw.select", "db.raw.a/b"]
    state = gather([table_record(name) for name in names], [], [], scope=Scope(), max_tables=10)
    shown = dg.Definitions(assets=specs(state)).resolve_all_asset_specs()
    assert {spec.key.path[-1] for spec in shown} == {'weird "name"', "ünï çode", "select", "a/b"}
    assert group_name("db", "odd-schema é") == "db__odd_schema__"


def test_the_state_holds_what_was_pushed_and_is_in_scope() -> None:
    state = gather(
        [table_record("db.raw.a"), table_record("db.tmp.b"), table_record("db.raw.c")],
        [edge_record("db.raw.a", "db.raw.c", pushed=False), edge_record("db.tmp.b", "db.raw.c")],
        [],
        scope=Scope(exclude=(TablePattern.parse("db.tmp"),)),
        max_tables=10,
    )
    assert [table.parts[2] for table in state.tables] == ["a", "c"]
    assert state.edges == ()


def test_the_state_of_more_tables_than_allowed_counts_the_rest_by_schema() -> None:
    records = [table_record(f"db.s{n % 2}.t{n}") for n in range(9, -1, -1)]
    state = gather(records, [edge_record("db.s0.t0", "db.s1.t1")], [], scope=Scope(), max_tables=3)
    assert [table.parts[1:] for table in state.tables] == [("s0", "t0"), ("s0", "t2"), ("s0", "t4")]
    assert (state.total, state.left_out) == (10, 7)
    assert state.edges == ()
    assert state.schema_edges == ((("db", "s0"), ("db", "s1")),)


def test_the_state_survives_its_file(tmp_path) -> None:
    path = tmp_path / "state"
    path.write_text(SMALL.model_dump_json())
    assert WarehouseState.read(path) == SMALL
    assert WarehouseState.read(tmp_path / "absent") == WarehouseState()


node = st.integers(0, 8).map(lambda n: (f"n{n}",))


@given(st.lists(st.tuples(node, node).filter(lambda edge: edge[0] != edge[1]), unique=True, max_size=40))
def test_lineage_loses_only_edges_that_lie_on_a_cycle(edges: list[tuple[tuple[str], tuple[str]]]) -> None:
    kept = {(source, destination) for destination, sources in acyclic(edges).items() for source in sources}
    assert kept <= set(edges)
    assert not any(reaches(kept, destination, source) for source, destination in kept)
    for source, destination in set(edges) - kept:
        assert reaches(set(edges), destination, source), "an edge on no cycle was dropped"


def reaches(edges: set[tuple[tuple[str, ...], tuple[str, ...]]], start: tuple[str, ...], end: tuple[str, ...]) -> bool:
    seen, todo = {start}, [start]
    while todo:
        node = todo.pop()
        if node == end:
            return True
        fresh = {d for s, d in edges if s == node} - seen
        seen |= fresh
        todo += fresh
    return False
