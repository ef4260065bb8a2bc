"""A change of schema is seen exactly when names or types changed, and reads as what was done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_push_dagster.flow.drift import changes, schema_digest
from mc_push_dagster.model import AssetType, Column, TableColumns, TableRef, TableSnapshot

REF = TableRef(database="d", schema="s", name="t")
SCHEMAS = st.dictionaries(st.text(max_size=2), st.sampled_from(["INT", "TEXT", 'STRUCT("a" INT)']), max_size=6)


def described(schema: dict[str, str]) -> TableColumns:
    return TableColumns(ref=REF, columns=tuple(Column(name=n, type=t) for n, t in schema.items()))


@given(SCHEMAS, SCHEMAS)
def test_change_names_exactly_what_was_added_removed_and_retyped(old, new):
    change = changes(described(old), described(new))
    if old == new:
        assert change is None
        return
    assert change is not None
    assert (change.ref, change.change) == (REF, "changed")
    assert set(change.columns_added) == new.keys() - old.keys()
    assert set(change.columns_removed) == old.keys() - new.keys()
    assert set(change.columns_retyped) == {n for n in old.keys() & new.keys() if old[n] != new[n]}


@given(SCHEMAS, SCHEMAS)
def test_digests_differ_exactly_when_there_is_a_change(old, new):
    before, after = described(old), described(new)
    assert (schema_digest(before.columns) == schema_digest(after.columns)) is (changes(before, after) is None)


@given(SCHEMAS, st.randoms())
def test_digest_ignores_order_and_comments(schema, random):
    columns = list(described(schema).columns)
    random.shuffle(columns)
    commented = [Column(name=c.name, type=c.type, description="new words") for c in columns]
    assert schema_digest(commented) == schema_digest(described(schema).columns)


def test_digest_keeps_name_and_type_apart():
    assert schema_digest([Column(name="a", type="bc")]) != schema_digest([Column(name="ab", type="c")])
    one = [Column(name='a", "INT"], ["b', type="INT")]
    two = [Column(name="a", type="INT"), Column(name="b", type="INT")]
    assert schema_digest(one) != schema_digest(two)


def test_digest_is_the_same_on_every_machine_and_version():
    # Ledgers keep digests: another value here means that every user's next push reports all tables as changed.
    columns = [Column(name="id", type="BIGINT"), Column(name="naïve 🎈", type="VARCHAR")]
    assert schema_digest(columns) == "cf972988a954f913a04edbaf39ee678c"


@given(SCHEMAS.filter(bool))
def test_new_and_dropped_tables_name_their_columns(schema):
    added, removed = changes(None, described(schema)), changes(described(schema), None)
    assert added is not None
    assert removed is not None
    assert (added.change, added.columns_added) == ("added", tuple(schema))
    assert (removed.change, removed.columns_removed) == ("removed", tuple(schema))
    assert changes(None, None) is None


def test_a_table_whose_columns_were_not_read_is_not_a_change():
    unread = TableSnapshot(ref=REF, asset_type=AssetType.TABLE, native_type="BASE TABLE")
    read = described({"id": "INT"})
    assert changes(read, unread) is None
    assert changes(unread, read) is None


def test_one_of_two_equal_names_of_a_view_changing_its_type_is_a_change():
    two_of_a_name = (Column(name="id", type="INT"), Column(name="id", type="TEXT"))
    retyped = (Column(name="id", type="INT"), Column(name="id", type="INT"))
    change = changes(TableColumns(ref=REF, columns=two_of_a_name), TableColumns(ref=REF, columns=retyped))
    assert change is not None
    assert change.columns_retyped == ("id",)


def test_two_different_tables_are_refused():
    other = TableColumns(ref=TableRef(database="d", schema="s", name="T"), columns=())
    with pytest.raises(ValueError, match=r"d\.s\.t and d\.s\.T"):
        changes(described({}), other)
