"""The warehouse's tables as external assets, within a byte budget that degrades by itself and says so."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import dagster as dg

from mc_push_dagster.orchestration.settings import RepresentTables
from mc_push_dagster.orchestration.state import TableState, WarehouseState

# Serialised sizes, measured at 10,000 tables of 20 columns on dagster 1.13: 1.6 KB a spec and 1.3 KB of component
# metadata, 210 bytes a column, 170 bytes a column of lineage.
SPEC_BYTES, COLUMN_BYTES, COLUMN_EDGE_BYTES = 2900, 210, 170

Node = tuple[str, ...]
"""(database, schema, table), or (database, schema) where schemas are shown."""


class Detail(IntEnum):
    """How much is shown, from nothing to everything."""

    NONE = 0
    SCHEMAS = 1
    TABLES = 2
    COLUMNS = 3
    COLUMN_LINEAGE = 4


@dataclass(frozen=True, kw_only=True)
class TableProps:
    """What a translation may use of one table, or of one schema where `name` is None."""

    warehouse: str
    warehouse_type: str
    database: str
    schema: str
    name: str | None
    kind: str
    """`table`, `view` or `schema`."""
    native_type: str
    description: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(part for part in (self.database, self.schema, self.name) if part is not None)

    @property
    def key(self) -> dg.AssetKey:
        return dg.AssetKey([self.warehouse, *self.parts])


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What the budget allows."""

    detail: Detail
    tables: int
    notes: tuple[str, ...] = ()
    """One sentence for each thing that is not shown, and why."""


def estimated_bytes(state: WarehouseState, detail: Detail, tables: int) -> int:
    """Return the estimated size of the definitions that show `tables` tables in `detail`."""
    if detail is Detail.NONE:
        return 0
    if detail is Detail.SCHEMAS:
        return SPEC_BYTES * len(state.schemas)
    size = SPEC_BYTES * tables
    if detail >= Detail.COLUMNS:
        size += COLUMN_BYTES * sum(len(t.columns) for t in state.tables[:tables])
    if detail >= Detail.COLUMN_LINEAGE:
        size += COLUMN_EDGE_BYTES * len(state.column_edges)
    return size


def fit(state: WarehouseState, settings: RepresentTables) -> Fit:
    """Choose the most detail that stays within `max_tables` and `max_bytes`."""
    if settings.mode == "none" or not state.total:
        return Fit(detail=Detail.NONE, tables=0)
    wanted = (
        Detail.SCHEMAS
        if settings.mode == "schema"
        else Detail.COLUMN_LINEAGE
        if settings.column_lineage and settings.columns
        else Detail.COLUMNS
        if settings.columns
        else Detail.TABLES
    )
    tables = min(len(state.tables), settings.max_tables)
    detail, notes = wanted, []
    if tables < state.total and detail > Detail.SCHEMAS:
        if settings.mode == "auto":
            detail = Detail.SCHEMAS
            notes.append(
                f"{state.total} tables are more than max_tables ({settings.max_tables}): schemas are shown instead"
            )
        else:
            notes.append(
                f"only the first {tables} of {state.total} tables are shown (max_tables {settings.max_tables})"
            )
    lowest = Detail.TABLES if settings.mode == "table" else Detail.NONE
    while detail > lowest and estimated_bytes(state, detail, tables) > settings.max_bytes:
        notes.append(f"{_NAMES[detail]} are left out: the definitions would exceed max_bytes ({settings.max_bytes})")
        detail = Detail(detail - 1)
    affordable = settings.max_bytes // SPEC_BYTES
    if detail is Detail.TABLES and tables > affordable:
        tables = affordable
        notes.append(f"only the first {tables} of {state.total} tables are shown (max_bytes {settings.max_bytes})")
    return Fit(detail=detail, tables=tables if detail >= Detail.TABLES else 0, notes=tuple(notes))


_NAMES = {
    Detail.COLUMN_LINEAGE: "column lineage edges",
    Detail.COLUMNS: "columns",
    Detail.TABLES: "single tables",
    Detail.SCHEMAS: "schemas",
}


def table_specs(
    state: WarehouseState,
    settings: RepresentTables,
    *,
    warehouse: str,
    warehouse_type: str,
    get_asset_spec: Callable[[TableProps, dg.AssetSpec], dg.AssetSpec],
) -> list[dg.AssetSpec]:
    """Build one external asset for each table (or schema) that the budget allows; edges become dependencies.

    Dagster refuses cycles, and warehouses have them (a table that is merged into itself by way of another): the edge
    that would close one is left out here. It is pushed to Monte Carlo all the same.
    """
    chosen = fit(state, settings)
    shown = _shown(state, chosen, warehouse, warehouse_type)
    # Translated first and linked after, so that dependencies and column lineage follow a translated key.
    specs = {
        node: get_asset_spec(props, _base_spec(props, table, chosen.detail)) for node, (props, table) in shown.items()
    }
    keys = {node: spec.key for node, spec in specs.items()}
    edges: Iterable[tuple[Node, Node]] = state.schema_edges if chosen.detail is Detail.SCHEMAS else state.edges
    upstream = acyclic(
        [(source, destination) for source, destination in edges if source in keys and destination in keys]
    )
    columns = _column_lineage(state, keys) if chosen.detail >= Detail.COLUMN_LINEAGE else {}
    return [
        _linked(spec, [keys[source] for source in upstream.get(node, ())], columns.get(node))
        for node, spec in specs.items()
    ]


def _shown(
    state: WarehouseState, chosen: Fit, warehouse: str, warehouse_type: str
) -> dict[Node, tuple[TableProps, TableState | None]]:
    """The nodes of the graph: tables, or schemas in their place."""
    if chosen.detail is Detail.NONE:
        return {}
    if chosen.detail is Detail.SCHEMAS:
        return {schema: (_schema_props(schema, n, warehouse, warehouse_type), None) for schema, n in state.schemas}
    tables = state.tables[: chosen.tables]
    return {table.parts: (_table_props(table, warehouse, warehouse_type), table) for table in tables}


def acyclic(edges: Sequence[tuple[Node, Node]]) -> dict[Node, list[Node]]:
    """Return the sources of each destination, less the edges that close a cycle; equal edges give equal answers."""
    upstream: dict[Node, list[Node]] = defaultdict(list)
    for source, destination in edges:
        upstream[destination].append(source)
    kept: dict[Node, list[Node]] = {}
    on_path: set[Node] = set()
    for start in sorted(upstream):
        if start in kept:
            continue
        stack = [(start, iter(upstream[start]))]
        on_path.add(start)
        kept[start] = []
        while stack:
            node, sources = stack[-1]
            source = next(sources, None)
            if source is None:
                on_path.discard(node)
                stack.pop()
            elif source not in on_path:
                kept[node].append(source)
                if source in upstream and source not in kept:
                    kept[source] = []
                    on_path.add(source)
                    stack.append((source, iter(upstream[source])))
    return {node: sources for node, sources in kept.items() if sources}


def _base_spec(props: TableProps, table: TableState | None, detail: Detail) -> dg.AssetSpec:
    metadata: dict[str, object] = {
        # Dagster links assets of the same table across code locations by this name, e.g. to the user's dbt model.
        "dagster/table_name": ".".join(props.parts),
        "dagster/storage_kind": props.warehouse_type,
    }
    if table is not None and detail >= Detail.COLUMNS and table.columns:
        metadata["dagster/column_schema"] = dg.TableSchema(
            columns=[dg.TableColumn(name=n, type=t, description=d) for n, t, d in table.columns]
        )
    if props.kind == "schema":
        del metadata["dagster/table_name"]
    return dg.AssetSpec(
        key=props.key,
        description=props.description,
        group_name=group_name(props.database, props.schema),
        kinds={props.warehouse_type, props.kind},
        metadata=metadata,
    )


def _linked(spec: dg.AssetSpec, upstream: Sequence[dg.AssetKey], lineage: dg.TableColumnLineage | None) -> dg.AssetSpec:
    if upstream and not spec.deps:  # dependencies that a translation sets take the place of ours
        spec = spec.merge_attributes(deps=upstream)
    return spec.merge_attributes(metadata={"dagster/column_lineage": lineage}) if lineage else spec


def _column_lineage(state: WarehouseState, keys: Mapping[Node, dg.AssetKey]) -> dict[Node, dg.TableColumnLineage]:
    deps: dict[Node, dict[str, list[dg.TableColumnDep]]] = defaultdict(lambda: defaultdict(list))
    for source, source_column, destination, column in state.column_edges:
        if source in keys and destination in keys:
            deps[destination][column].append(dg.TableColumnDep(asset_key=keys[source], column_name=source_column))
    return {table: dg.TableColumnLineage(deps_by_column=columns) for table, columns in deps.items()}


def group_name(*parts: str) -> str:
    """Return a valid Dagster group: letters, digits and underscores."""
    return "__".join(re.sub(r"[^A-Za-z0-9_]", "_", part) for part in parts)


def _table_props(table: TableState, warehouse: str, warehouse_type: str) -> TableProps:
    database, schema, name = table.parts
    return TableProps(
        warehouse=warehouse,
        warehouse_type=warehouse_type,
        database=database,
        schema=schema,
        name=name,
        kind="view" if table.view else "table",
        native_type=table.native_type,
    )


def _schema_props(schema: tuple[str, str], tables: int, warehouse: str, warehouse_type: str) -> TableProps:
    return TableProps(
        warehouse=warehouse,
        warehouse_type=warehouse_type,
        database=schema[0],
        schema=schema[1],
        name=None,
        kind="schema",
        native_type="SCHEMA",
        description=f"{tables} tables and views",
    )
