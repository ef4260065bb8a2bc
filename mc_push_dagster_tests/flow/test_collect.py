"""Catalog streams are joined lazily, and nothing that was not read turns into an empty schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_push_dagster.errors import BrokenContract
from mc_push_dagster.flow.collect import snapshots
from mc_push_dagster.model import AssetType, Column, Gap, TableColumns, TableRef, TableSnapshot
from mc_push_dagster.warehouses.base import Settings, Warehouse

REFS = st.builds(
    TableRef,
    database=st.sampled_from(["A", "a", "b.c"]),
    schema=st.sampled_from(["S", "s", ""]),
    name=st.text(max_size=3),
)


def table(ref: TableRef) -> TableSnapshot:
    return TableSnapshot(ref=ref, asset_type=AssetType.TABLE, native_type="BASE TABLE")


def columns(ref: TableRef) -> TableColumns:
    return TableColumns(ref=ref, columns=(Column(name=f"id of {ref}", type="INTEGER"),))


def ref(name: str, schema: str = "s") -> TableRef:
    return TableRef(database="d", schema=schema, name=name)


class Listed(Warehouse):
    """A warehouse of two given streams, which records how far each was read and whether it was closed."""

    name = dialect = resource_type = log_type = "listed"
    capabilities = MappingProxyType({})
    settings = Settings

    def __init__(self, tables=(), columns=()):
        super().__init__(lambda: None)
        self._tables, self._columns = tables, columns
        self.pulled = {"tables": 0, "columns": 0}
        self.closed: list[str] = []

    @classmethod
    def from_settings(cls, settings, *, scope):
        raise NotImplementedError

    def tables(self):
        return self._stream("tables", self._tables)

    def columns(self):
        return self._stream("columns", self._columns)

    def _stream(self, name: str, items) -> Iterator:
        try:
            for item in items:
                self.pulled[name] += 1
                yield item
        finally:
            self.closed.append(name)


@given(st.sets(REFS), st.sets(REFS), st.sets(REFS))
def test_join_equals_a_lookup_by_name(listed, described, unreadable):
    described -= unreadable
    warehouse = Listed(
        tables=[table(r) for r in sorted(listed)],
        columns=[
            Gap(subject=str(r), reason="denied", ref=r) if r in unreadable else columns(r)
            for r in sorted(described | unreadable)
        ],
    )

    out = list(snapshots(warehouse))

    tables = [item for item in out if isinstance(item, TableSnapshot)]
    gaps = {item.ref for item in out if isinstance(item, Gap)}
    assert [t.ref for t in tables] == sorted(listed)
    assert {t.ref: t.columns for t in tables} == {r: columns(r).columns if r in described else None for r in listed}
    assert gaps == unreadable | (listed - described)


@given(st.sets(REFS))
def test_without_columns_the_column_statement_is_never_run(listed):
    warehouse = Listed(tables=[table(r) for r in sorted(listed)], columns=[columns(r) for r in sorted(listed)])
    assert [t.columns for t in snapshots(warehouse, with_columns=False)] == [None] * len(listed)
    assert warehouse.pulled["columns"] == 0


def test_nothing_is_read_ahead_of_the_consumer():
    refs = [ref(f"t{i:06}") for i in range(100_000)]
    warehouse = Listed(tables=(table(r) for r in refs), columns=(columns(r) for r in refs))
    stream = snapshots(warehouse)
    assert warehouse.pulled == {"tables": 0, "columns": 0}
    for _ in range(3):
        next(stream)
    assert warehouse.pulled == {"tables": 3, "columns": 3}


def test_both_streams_are_closed_when_the_consumer_stops_early():
    refs = [ref("a"), ref("b")]
    warehouse = Listed(tables=[table(r) for r in refs], columns=[columns(r) for r in refs])
    stream = snapshots(warehouse)
    next(stream)
    stream.close()
    assert sorted(warehouse.closed) == ["columns", "tables"]


def test_a_failing_column_stream_closes_the_table_stream():
    def broken() -> Iterator[TableColumns]:
        yield columns(ref("a"))
        raise ConnectionError("gone")

    warehouse = Listed(tables=[table(ref("a")), table(ref("b"))], columns=broken())
    with pytest.raises(ConnectionError):
        list(snapshots(warehouse))
    assert "tables" in warehouse.closed


@pytest.mark.parametrize("stream", ["tables", "columns"])
@pytest.mark.parametrize("names", [("b", "a"), ("a", "a")], ids=["descending", "twice"])
def test_a_stream_out_of_order_is_a_broken_contract(stream, names):
    make: dict[str, Callable] = {"tables": table, "columns": columns}
    given_streams = {
        "tables": [table(ref(n)) for n in ("a", "b", "c")],
        "columns": [columns(ref(n)) for n in ("a", "b", "c")],
        stream: [make[stream](ref(n)) for n in names],
    }
    with pytest.raises(BrokenContract, match=rf"{stream}\(\) must ascend .*d\.s\.{names[1]} follows d\.s\.{names[0]}"):
        list(snapshots(Listed(**given_streams)))


def test_one_gap_for_a_whole_schema_is_not_repeated_for_each_of_its_tables():
    denied = Gap(subject="d.secret", reason="no USAGE on schema")
    warehouse = Listed(
        tables=[table(ref("a")), *(table(ref(n, "secret")) for n in "xyz")],
        columns=[columns(ref("a")), denied],
    )
    out = list(snapshots(warehouse))
    assert [item for item in out if isinstance(item, Gap)] == [denied]
    assert [t.columns for t in out if isinstance(t, TableSnapshot)][1:] == [None, None, None]


def test_gaps_of_the_table_stream_and_trailing_gaps_are_kept():
    first = Gap(subject="d.s.a", reason="denied", ref=ref("a"))
    last = Gap(subject="d.z", reason="denied")
    warehouse = Listed(tables=[first, table(ref("b"))], columns=[columns(ref("a")), columns(ref("b")), last])
    out = list(snapshots(warehouse))
    assert out[0] == first
    assert out[1].columns == columns(ref("b")).columns
    assert out[2] == last


def test_a_table_dropped_between_the_two_statements_is_a_gap_and_not_an_empty_schema():
    warehouse = Listed(tables=[table(ref("a")), table(ref("b"))], columns=[columns(ref("b"))])
    first, gap, second = snapshots(warehouse)
    assert first.columns is None
    assert gap.ref == ref("a")
    assert second.columns is not None
