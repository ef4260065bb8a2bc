"""What every warehouse must keep, as a class to subclass: `class TestMine(WarehouseContract)` with a fixture `loaded`.

The fixture loads a real engine (or a strict stand-in) with tables and says what is in it. A warehouse that passes
streams truthfully, in order and lazily, closes what it opens, and reads exactly its scope.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from mc_push_dagster.flow.collect import snapshots
from mc_push_dagster.model import (
    ColumnEdge,
    Gap,
    LineageEdge,
    QueryRecord,
    Scope,
    TableColumns,
    TablePattern,
    TableRef,
    TableSnapshot,
    Window,
)
from mc_push_dagster.warehouses import REGISTRY, load
from mc_push_dagster.warehouses.base import Capability, Warehouse

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """An engine with something in it, and the facts about it that the engine did not tell us."""

    open: Callable[[Scope], Warehouse]
    """A new warehouse over the same data."""
    tables: Mapping[TableRef, TableSnapshot]
    """Everything that can be read. Sizes that only the engine knows are given as 1: present, whatever they are."""
    broken: frozenset[TableRef] = frozenset()
    """What is there and cannot be read whole: a gap each."""
    queries: Sequence[QueryRecord] = ()
    """The whole query log, ordered by end, without our own statements."""
    alter_schema: Callable[[], None] | None = None
    """Adds a column somewhere in scope."""
    write_rows: Callable[[], None] | None = None
    """Writes rows and changes no schema."""
    secrets: Sequence[str] = ()
    """What may stand in no representation."""


class Counted:
    """Stands before a connection factory and counts what is open."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self.opened = 0
        self.open = 0

    def __call__(self) -> Any:
        connection = self._connect()
        self.opened += 1
        self.open += 1
        return _Connection(connection, self)


class _Connection:
    def __init__(self, inner: Any, counted: Counted) -> None:
        self._inner = inner
        self._counted: Counted | None = counted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def close(self) -> None:
        if self._counted is not None:
            self._counted.open -= 1
            self._counted = None
        self._inner.close()


def counted(warehouse: Warehouse) -> Counted:
    warehouse._connect = Counted(warehouse._connect)
    return warehouse._connect


def patterns_of(refs: Sequence[TableRef]) -> st.SearchStrategy[TablePattern]:
    """Patterns that hit some of the names: whole, cut by a wildcard, in another case, or not at all."""

    def globs(values: set[str]) -> st.SearchStrategy[str]:
        plain = sorted(v for v in values if not set("*?[") & set(v))
        cut = [f"{v[: len(v) // 2]}*" for v in plain] + [f"?{v[1:]}" for v in plain if v]
        return st.sampled_from(
            ["*", *plain, *cut, *(v.upper() for v in plain if v.isascii()), "no such name", "%", "_"]
        )

    return st.builds(
        TablePattern,
        database=globs({r.database for r in refs}),
        schema=globs({r.schema for r in refs}),
        name=globs({r.name for r in refs}),
    )


class WarehouseContract:
    """Subclass it, set `warehouse` and `driver`, and give a fixture `loaded`."""

    warehouse: ClassVar[type[Warehouse]]
    driver: ClassVar[str]
    """The module that may be imported only when a connection is opened."""
    examples: ClassVar[int] = 25
    """How many scopes are tried; fewer where an engine is slow."""

    # What the class says about itself

    def test_class_constants_are_stated(self):
        cls = self.warehouse
        for constant in ("name", "dialect", "resource_type", "log_type"):
            assert isinstance(getattr(cls, constant), str), constant
            assert getattr(cls, constant), constant
        assert cls.query_log_latency >= timedelta(0)
        assert cls.drift_interval > timedelta(0)
        assert cls.late_windows >= 0
        assert cls.statement_budget, "say what a catalog costs"

    def test_dialect_is_one_that_sqlglot_knows(self):
        from sqlglot.dialects import Dialect

        Dialect.get_or_raise(self.warehouse.dialect)

    def test_every_capability_is_stated_and_every_no_has_its_reason(self):
        assert set(self.warehouse.capabilities) == set(Capability)
        for capability, support in self.warehouse.capabilities.items():
            assert support.state == "yes" or support.reason, capability

    def test_registry_leads_to_this_class(self):
        assert self.warehouse.name in REGISTRY
        assert load(self.warehouse.name) is self.warehouse

    def test_module_imports_without_its_driver(self):
        code = f"import sys, {self.warehouse.__module__}; sys.exit({self.driver!r} in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

    def test_settings_refuse_unknown_keys_and_never_repeat_values(self):
        with pytest.raises(ValidationError) as caught:
            self.warehouse.settings.model_validate({"no_such_setting": "hunter2"})
        assert "hunter2" not in str(caught.value)

    def test_settings_hold_secrets_as_secrets(self):
        for name, field in self.warehouse.settings.model_fields.items():
            if any(word in name for word in ("password", "token", "secret", "private_key", "passphrase")):
                assert SecretStr.__name__ in str(field.annotation), name

    # Streams

    def test_tables_and_columns_ascend_by_name_without_repeats(self, loaded: Loaded):
        warehouse = loaded.open(Scope())
        for stream in (warehouse.tables(), warehouse.columns()):
            refs = [item.ref for item in stream if not isinstance(item, Gap)]
            assert refs == sorted(set(refs))

    def test_every_table_is_read_as_it_is(self, loaded: Loaded):
        read = {s.ref: s for s in snapshots(loaded.open(Scope())) if isinstance(s, TableSnapshot)}
        assert read.keys() - loaded.broken == loaded.tables.keys()
        for ref, expected in loaded.tables.items():
            self.assert_same(read[ref], expected)

    def assert_same(self, read: TableSnapshot, expected: TableSnapshot) -> None:
        for field in ("asset_type", "native_type", "columns", "description", "tags", "row_count", "data_change"):
            assert getattr(read, field) == getattr(expected, field), f"{field} of {read.ref}"
        for field in ("byte_count", "created_at", "view_query"):
            known = getattr(expected, field) is not None
            assert (getattr(read, field) is not None) == known, f"{field} of {read.ref}"

    def test_what_cannot_be_read_is_a_gap_and_the_rest_goes_on(self, loaded: Loaded):
        items = list(snapshots(loaded.open(Scope())))
        gaps = [item for item in items if isinstance(item, Gap)]
        assert {gap.ref for gap in gaps} == loaded.broken
        assert all(gap.reason and gap.subject for gap in gaps)
        for item in items:
            if isinstance(item, TableSnapshot) and item.ref in loaded.broken:
                assert item.columns is None, "a gap must not look like an empty schema"

    def test_columns_are_never_listed_as_empty(self, loaded: Loaded):
        for item in loaded.open(Scope()).columns():
            assert isinstance(item, Gap) or (isinstance(item, TableColumns) and item.columns)

    def test_building_and_asking_opens_no_connection(self, loaded: Loaded):
        warehouse = loaded.open(Scope())
        connections = counted(warehouse)
        streams = [
            warehouse.tables(),
            warehouse.columns(),
            warehouse.fingerprints(),
            warehouse.queries(self.all(loaded)),
        ]
        assert connections.opened == 0
        for stream in streams:
            stream.close()  # type: ignore[attr-defined]
        assert connections.opened == 0

    @pytest.mark.parametrize("stream", ["tables", "columns", "fingerprints", "queries", "lineage", "check_access"])
    @pytest.mark.parametrize("manner", ["to the end", "stopped after one", "consumer fails"])
    def test_connections_are_closed_on_every_path(self, loaded: Loaded, stream: str, manner: str):
        warehouse = loaded.open(Scope())
        connections = counted(warehouse)
        arguments = [self.all(loaded)] if stream in ("queries", "lineage") else []
        items: Any = getattr(warehouse, stream)(*arguments)
        if manner == "to the end":
            list(items)
        else:
            next(iter(items), None)
            if manner == "consumer fails" and hasattr(items, "throw"):
                with pytest.raises((KeyError, StopIteration)):
                    items.throw(KeyError("consumer"))
            elif hasattr(items, "close"):
                items.close()
        assert connections.open == 0

    # Scope

    def test_scope_is_pushed_down_and_means_what_it_says(self, loaded: Loaded):
        everything = sorted(loaded.tables.keys() | loaded.broken)
        lists = st.lists(patterns_of(everything), max_size=2)

        @settings(max_examples=self.examples, deadline=None, suppress_health_check=list(HealthCheck))
        @given(lists, lists)
        def holds(include: list[TablePattern], exclude: list[TablePattern]) -> None:
            scope = Scope(include=tuple(include), exclude=tuple(exclude))
            covered = {ref for ref in everything if scope.covers(ref)}
            warehouse = loaded.open(scope)
            for stream in (warehouse.tables(), warehouse.columns()):
                assert {item.ref for item in stream if item.ref is not None} == covered

        holds()

    # Capabilities

    def test_what_is_said_to_be_impossible_is_never_given(self, loaded: Loaded):
        given_by = self.given(loaded)
        for capability, support in self.warehouse.capabilities.items():
            if support.state != "yes":
                assert not given_by[capability], f"{capability} is {support.state}, but was given"

    def test_what_is_said_to_be_there_is_given(self, loaded: Loaded):
        given_by = self.given(loaded)
        for capability, support in self.warehouse.capabilities.items():
            if support.state == "yes":
                assert given_by[capability], f"{capability} is promised, but nothing was given"

    def given(self, loaded: Loaded) -> dict[Capability, bool]:
        warehouse = loaded.open(Scope())
        tables = [s for s in snapshots(warehouse) if isinstance(s, TableSnapshot)]
        edges = list(warehouse.lineage(self.all(loaded)))
        return {
            Capability.SCHEMA: any(t.columns for t in tables),
            Capability.VIEW_TEXT: any(t.view_query for t in tables),
            Capability.DESCRIPTIONS: any(t.description or any(c.description for c in t.columns or ()) for t in tables),
            Capability.TAGS: any(t.tags for t in tables),
            Capability.ROW_COUNT: any(t.row_count is not None for t in tables),
            Capability.BYTE_COUNT: any(t.byte_count is not None for t in tables),
            Capability.DATA_CHANGE: any(t.data_change is not None for t in tables),
            Capability.QUERY_LOG: any(True for _ in warehouse.queries(self.all(loaded))),
            Capability.TABLE_LINEAGE: any(isinstance(e, LineageEdge) for e in edges),
            Capability.COLUMN_LINEAGE: any(isinstance(e, ColumnEdge) for e in edges),
            Capability.DRIFT: any(True for _ in warehouse.fingerprints()),
        }

    def test_access_is_checked_once_for_each_capability_and_granted(self, loaded: Loaded):
        seen = list(loaded.open(Scope()).check_access())
        promised = {c for c, support in self.warehouse.capabilities.items() if support.state == "yes"}
        assert sorted(a.capability for a in seen) == sorted(promised)
        assert all(a.granted and a.detail for a in seen), seen

    # Query log

    def test_query_log_is_read_whole_and_by_end(self, loaded: Loaded):
        assert list(loaded.open(Scope()).queries(self.all(loaded))) == list(loaded.queries)

    def test_windows_are_half_open_on_the_end(self, loaded: Loaded):
        warehouse = loaded.open(Scope())
        for record in loaded.queries:
            at = record.ended_at
            assert record in self.read(warehouse, at, at + MICROSECOND)
            assert record not in self.read(warehouse, at - MICROSECOND, at)

    def test_adjacent_windows_hold_each_query_once(self, loaded: Loaded):
        if not loaded.queries:
            return
        warehouse, whole = loaded.open(Scope()), self.all(loaded)
        cuts = sorted({r.ended_at for r in loaded.queries} | {whole.start, whole.end})
        parts = [q for start, end in pairwise(cuts) for q in self.read(warehouse, start, end)]
        assert parts == list(loaded.queries)

    def test_a_window_without_queries_is_empty(self, loaded: Loaded):
        long_ago = datetime(1999, 1, 1, tzinfo=UTC)
        assert self.read(loaded.open(Scope()), long_ago, long_ago + timedelta(hours=1)) == []

    def test_reading_leaves_no_trace_in_the_log_we_read(self, loaded: Loaded):
        warehouse = loaded.open(Scope())
        list(snapshots(warehouse))
        list(warehouse.fingerprints())
        assert list(warehouse.queries(self.all(loaded))) == list(loaded.queries)

    @staticmethod
    def read(warehouse: Warehouse, start: datetime, end: datetime) -> list[QueryRecord]:
        return list(warehouse.queries(Window(start=start, end=end)))

    @staticmethod
    def all(loaded: Loaded) -> Window:
        """A window that holds the whole log."""
        ends = [record.ended_at for record in loaded.queries] or [datetime(2026, 1, 1, tzinfo=UTC)]
        return Window(start=min(ends), end=max(ends) + MICROSECOND)

    # Drift

    def test_fingerprints_stay_the_same_until_a_schema_changes(self, loaded: Loaded):
        def digests() -> dict[str, str]:
            found = list(loaded.open(Scope()).fingerprints())
            assert not [item for item in found if isinstance(item, Gap)]
            return {item.database: item.digest for item in found if not isinstance(item, Gap)}

        before = digests()
        assert digests() == before
        if loaded.write_rows is not None:
            loaded.write_rows()
            assert digests() == before, "rows are no schema"
        if loaded.alter_schema is not None:
            loaded.alter_schema()
            assert digests() != before

    def test_fingerprints_follow_the_scope(self, loaded: Loaded):
        one = sorted(loaded.tables)[0]
        scope = Scope(include=(TablePattern(database=_literal(one.database)),))
        assert {f.database for f in loaded.open(scope).fingerprints() if not isinstance(f, Gap)} == {
            ref.database for ref in loaded.tables if scope.covers(ref)
        }

    # Manners

    def test_identifiers_survive_quoting(self, loaded: Loaded):
        quote = loaded.open(Scope()).quote
        assert len({quote(name) for name in ("a", "A", 'a"', "a`", "a.b", "")}) == 6

    def test_no_representation_holds_a_secret(self, loaded: Loaded):
        warehouse = loaded.open(Scope())
        for secret in loaded.secrets:
            assert secret not in repr(warehouse)
            assert secret not in str(vars(warehouse))


def _literal(name: str) -> str:
    """A glob that means the name itself."""
    return "".join("?" if c in "*?" else c for c in name)
