"""What Spark says of a table is read truthfully, also where comments and properties imitate it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_push_dagster.warehouses._spark_information import (
    DoubtfulError,
    NeedsCommentError,
    Snapshot,
    created,
    described,
    parse,
    snapshot_of,
    statistics,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "spark"
EXTENDED: dict[str, str] = json.loads((GOLDEN / "extended_3.5.9.json").read_text(encoding="utf-8"))
DESCRIBED: dict[str, list] = json.loads((GOLDEN / "described_3.5.9.json").read_text(encoding="utf-8"))

HEAD = (
    "Catalog: spark_catalog\nDatabase: d\nTable: t\nOwner: etl\nCreated Time: Fri Nov 20 23:09:20 UTC 2026\n"
    "Last Access: UNKNOWN\nCreated By: Spark 3.5.9\nType: MANAGED\nProvider: parquet\n"
)
TAIL = (
    "Location: file:/data/t\nSerde Library: x.Serde\nInputFormat: x.In\nOutputFormat: x.Out\n"
    "Schema: root\n |-- a: integer (nullable = true)\n\n"
)


def test_a_plain_table_gives_statistics_comment_and_created_time():
    found = parse(EXTENDED["plain"], comment="All orders")
    assert (found.kind, found.provider, found.comment, found.row_count) == ("MANAGED", "parquet", "All orders", 1)
    assert found.byte_count
    assert found.created_at is not None
    assert found.created_at.tzinfo is UTC


def test_an_iceberg_table_gives_its_snapshot_from_the_bulk_call():
    found = parse(EXTENDED["ice"], comment="c\nStatistics: 9 bytes, 9 rows")
    assert found.provider == "iceberg"
    assert found.snapshot == Snapshot(at=datetime.fromtimestamp(1795224663.065, UTC), row_count=1, byte_count=600)


def test_an_iceberg_table_without_a_snapshot_is_empty_and_has_no_change():
    assert parse(EXTENDED["ice_empty"]).snapshot == Snapshot(at=None, row_count=0, byte_count=0)


def test_a_view_keeps_its_text_line_breaks_included():
    found = parse(EXTENDED["v1"])
    assert found.is_view
    assert found.view_text == "SELECT 1 a,\n 2 b"
    assert found.comment == "bla"
    assert (found.row_count, found.byte_count) == (None, None)


def test_properties_that_imitate_statistics_do_not_count():
    found = parse(EXTENDED["axb"])
    assert (found.row_count, found.byte_count) == (None, 443)


def test_measures_after_a_comment_count_only_for_who_knows_the_comment():
    with pytest.raises(NeedsCommentError):
        parse(EXTENDED["fake"])
    comment = "c\nStatistics: 9 bytes, 9 rows"
    found = parse(EXTENDED["fake"], comment=comment)
    assert (found.comment, found.row_count, found.byte_count) == (comment, None, None)


def test_a_comment_that_changed_in_between_is_doubtful():
    with pytest.raises(DoubtfulError):
        parse(EXTENDED["fake"], comment="another")


def test_describe_settles_what_the_text_leaves_open():
    assert described(DESCRIBED["d1.axb"]).byte_count == 443
    ice = described(DESCRIBED["d1.ice"])
    assert ice.snapshot_id == 3147059176861972536
    assert ice.comment == "c\nStatistics: 9 bytes, 9 rows"
    assert [c.name for c in ice.columns] == ["a", "b"]
    assert described(DESCRIBED["d1.v1"]).view_text == "SELECT 1 a,\n 2 b"


def test_describe_in_another_catalog_gives_columns_and_the_snapshot_id():
    found = described(DESCRIBED["lake.`odd-name`.`tä``b.c`"])
    assert [(c.name, c.type, c.description) for c in found.columns] == [("x y", "int", "bla")]
    assert found.snapshot == Snapshot(row_count=0, byte_count=0)
    assert described(DESCRIBED["lake.db1.o"]).snapshot_id == 2762586589514381039


def test_a_zero_that_spark_4_prints_for_unknown_is_unknown():
    assert statistics("1827", "0") == {"byte_count": 1827, "row_count": None}
    assert statistics("0", "0") == {"byte_count": 0, "row_count": 0}


def test_rows_are_unknown_while_delete_files_hide_some_of_them():
    summary = {"total-records": "108", "total-files-size": "4487", "total-delete-files": "0"}
    assert snapshot_of(summary) == Snapshot(row_count=108, byte_count=4487)
    assert snapshot_of(summary | {"total-position-deletes": "3"}).row_count is None
    assert snapshot_of({}) == Snapshot()


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("Fri Nov 20 23:09:20 UTC 2026", None, datetime(2026, 11, 20, 23, 9, 20, tzinfo=UTC)),
        ("Fri Nov 20 23:09:20 CET 2026", None, None),
        ("Fri Nov 20 23:09:20 CET 2026", "Europe/Berlin", datetime(2026, 11, 20, 22, 9, 20, tzinfo=UTC)),
        ("Mon Jul 20 23:09:20 CEST 2026", "Europe/Berlin", datetime(2026, 7, 20, 21, 9, 20, tzinfo=UTC)),
        ("Sat Nov 21 04:39:20 IST 2026", "Asia/Kolkata", datetime(2026, 11, 20, 23, 9, 20, tzinfo=UTC)),
        ("Thu Jan 01 00:00:00 UTC 1970", None, None),
        ("UNKNOWN", None, None),
        (None, None, None),
    ],
)
def test_created_time_is_read_in_the_servers_zone_or_not_at_all(text, zone, expected):
    assert created(text, ZoneInfo(zone) if zone else None) == expected


free_text = st.text(st.sampled_from("ab:[],|=- \n0"), max_size=30) | st.sampled_from(
    [
        "x\nStatistics: 7 bytes, 7 rows",
        "Location: y",
        "]\nStatistics: 7 bytes, 7 rows\nLocation: z",
        "a\nSchema: root\n",
    ]
)


@given(
    comment=free_text, value=free_text, size=st.none() | st.integers(0, 10**15), rows=st.none() | st.integers(0, 10**9)
)
def test_no_comment_or_property_ever_invents_a_measure(comment, value, size, rows):
    """Spark's own way of printing, with any free text in it: read right, or held to be doubtful."""
    text = HEAD
    if comment:
        text += f"Comment: {comment}\n"
    if value:
        text += f"Table Properties: [k={value}]\n"
    if size is not None:
        text += f"Statistics: {size} bytes" + (f", {rows} rows" if rows is not None else "") + "\n"
    try:
        found = parse(text + TAIL, comment=comment or None)
    except DoubtfulError:
        return
    expected = statistics(None if size is None else str(size), None if rows is None or size is None else str(rows))
    assert {"byte_count": found.byte_count, "row_count": found.row_count} == expected
    assert found.comment == (comment or None)


@given(
    body=st.text(st.sampled_from("SELECT 1\n-:[]"), min_size=1, max_size=40),
    comment=st.none() | st.just("a\nView Text: b"),
)
def test_a_views_text_is_whole_or_doubtful(body, comment):
    text = HEAD.replace("Type: MANAGED\nProvider: parquet\n", "Type: VIEW\n")
    text += f"Comment: {comment}\n" if comment else ""
    text += f"View Text: {body}\nView Original Text: {body}\nView Catalog and Namespace: spark_catalog.default\n"
    try:
        found = parse(text)
    except DoubtfulError:
        assert comment is not None
        return
    assert found.view_text == body
