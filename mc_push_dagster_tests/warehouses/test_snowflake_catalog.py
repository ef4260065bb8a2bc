"""Snowflake's catalog: what each kind of object is read as, what it costs, and what an unreadable part becomes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_push_dagster.errors import WarehouseUnavailable
from mc_push_dagster.flow.collect import snapshots
from mc_push_dagster.model import ChangeSource, DataChange, Gap, Scope, TablePattern, TableRef, TableSnapshot
from mc_push_dagster.warehouses import _snowflake_rows as rows
from mc_push_dagster.warehouses import _snowflake_sql as sql
from mc_push_dagster_tests.snowflake.rows import BORN, NOW, column, opened, put, table, view
from mc_push_dagster_tests.snowflake.server import Fault, Snowflake

pytest_plugins = ["mc_push_dagster_tests.snowflake.plugin"]

NEVER = float("inf")
DENIED = (2003, "42S02", "SQL compilation error:\nObject does not exist or not authorized.")


def scope(*patterns: str) -> Scope:
    return Scope(include=tuple(TablePattern.parse(p) for p in patterns))


def read(sf: Snowflake, **options: object) -> dict[str, TableSnapshot]:
    found = list(snapshots(opened(sf, **options)))
    assert not [item for item in found if isinstance(item, Gap)], found
    return {item.ref.name: item for item in found if isinstance(item, TableSnapshot)}


def gaps(items) -> list[Gap]:
    return [item for item in items if isinstance(item, Gap)]


# Kinds of objects


KINDS = {
    "BASE TABLE": {},
    "TRANSIENT TABLE": {"is_transient": "YES"},
    "DYNAMIC TABLE": {"is_dynamic": "YES"},
    "ICEBERG TABLE": {"is_iceberg": "YES"},
    "DYNAMIC ICEBERG TABLE": {"is_dynamic": "YES", "is_iceberg": "YES"},
    "HYBRID TABLE": {"is_hybrid": "YES"},
    "EXTERNAL TABLE": {"table_type": "EXTERNAL TABLE"},
    "EVENT TABLE": {"table_type": "EVENT TABLE"},
    "VIEW": {"table_type": "VIEW"},
    "MATERIALIZED VIEW": {"table_type": "MATERIALIZED VIEW"},
}


def test_each_object_keeps_the_kind_that_snowflake_gives_it(sf):
    sf.database("D")
    put(sf, *(table("D", "S", kind, **more) for kind, more in KINDS.items()))
    found = read(sf)
    assert {name: snapshot.native_type for name, snapshot in found.items()} == {kind: kind for kind in KINDS}
    views = {name for name, snapshot in found.items() if snapshot.asset_type == "VIEW"}
    assert views == {"VIEW", "MATERIALIZED VIEW"}


def test_views_and_external_tables_have_no_measures_not_zero(sf):
    sf.database("D")
    put(sf, *(table("D", "S", k, table_type=k, row_count=0, bytes=0) for k in ("VIEW", "EXTERNAL TABLE")))
    for found in read(sf).values():
        assert (found.row_count, found.byte_count, found.data_change) == (None, None, None)


def test_a_true_zero_stays_zero(sf):
    sf.database("D")
    put(sf, table("D", "S", "EMPTY", row_count=0, bytes=0))
    assert (read(sf)["EMPTY"].row_count, read(sf)["EMPTY"].byte_count) == (0, 0)


def test_temporary_tables_are_no_part_of_the_catalog(sf):
    sf.database("D")
    put(sf, table("D", "S", "T"), table("D", "S", "TMP", table_type="TEMPORARY TABLE"))
    assert list(read(sf)) == ["T"]


def test_texts_come_from_the_view_that_has_them(sf):
    sf.database("D")
    put(
        sf,
        table("D", "S", "V", table_type="VIEW"),
        table("D", "S", "SECURE", table_type="VIEW"),
        table("D", "S", "MV", table_type="MATERIALIZED VIEW"),
        table("D", "S", "DT", is_dynamic="YES"),
    )
    sf.fill(
        "INFORMATION_SCHEMA",
        "VIEWS",
        [view("D", "S", "V", "create view v as select 1"), view("D", "S", "SECURE", None, secure="YES")],
    )
    shown = {"database_name": "D", "schema_name": "S"}
    sf.fill("SHOW", "MATERIALIZED VIEWS", [{**shown, "name": "MV", "text": "create materialized view mv as select 2"}])
    sf.fill("SHOW", "DYNAMIC TABLES", [{**shown, "name": "DT", "text": "create dynamic table dt as select 3"}])
    found = read(sf)
    assert found["V"].view_query == "create view v as select 1"
    assert found["SECURE"].view_query is None
    assert found["SECURE"].native_type == "SECURE VIEW"
    assert found["MV"].view_query == "create materialized view mv as select 2"
    assert found["DT"].view_query == "create dynamic table dt as select 3"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", False),
        ("   ", False),
        ("select (1", True),  # short texts are never cut, so they are not judged
        ("select coalesce(a, '" + "x" * 9000, False),
        ("select coalesce(a, " + "x" * 9000, False),
        ("select (')(', \"(\", $$ ( $$) -- (\n /* ( */" + " " * 9000, True),
    ],
)
def test_a_view_text_that_was_cut_off_is_absent(text, kept):
    assert rows.view_text(text) == (text if kept else None)


# Types


TYPES = {
    "NUMBER(12,3)": {"data_type": "NUMBER", "numeric_precision": 12, "numeric_scale": 3},
    "VARCHAR(16777216)": {"data_type": "TEXT", "character_maximum_length": 16777216},
    "BINARY(8388608)": {"data_type": "BINARY", "character_octet_length": 8388608},
    "TIMESTAMP_NTZ(9)": {"data_type": "TIMESTAMP_NTZ", "datetime_precision": 9},
    "TIMESTAMP_TZ": {"data_type": "TIMESTAMP_TZ"},
    "TIME(0)": {"data_type": "TIME", "datetime_precision": 0},
    "FLOAT": {"data_type": "FLOAT"},
    "VARIANT": {"data_type": "VARIANT"},
    "ARRAY": {"data_type": "ARRAY", "dtd_identifier": "nothing inside"},
    "GEOGRAPHY": {"data_type": "GEOGRAPHY"},
}


def test_types_are_written_as_snowflake_writes_them(sf):
    sf.database("D")
    sf.fill("INFORMATION_SCHEMA", "TABLES", [table("D", "S", "T")])
    none = {"numeric_precision": None, "numeric_scale": None}
    sf.fill(
        "INFORMATION_SCHEMA",
        "COLUMNS",
        [column("D", "S", "T", i, f"C{i}", **none | given_as) for i, given_as in enumerate(TYPES.values(), 1)],
    )
    assert [c.type for c in read(sf)["T"].columns or ()] == list(TYPES)


@pytest.mark.parametrize("catalog", ["information_schema", "account_usage"])
def test_structured_types_are_written_with_what_is_inside(sf, catalog):
    sf.database("D")
    home = catalog.upper()
    ids = {"table_id": 5} if catalog == "account_usage" else {}
    plain = {k: v for k, v in table("D", "S", "T").items() if k != "is_immutable"}
    sf.fill(home, "TABLES", [plain | ids])
    none = {"numeric_precision": None, "numeric_scale": None}
    structured = [
        column("D", "S", "T", 1, "A", data_type="ARRAY", dtd_identifier="1", **none),
        column("D", "S", "T", 2, "O", data_type="OBJECT", dtd_identifier="2", **none),
        column("D", "S", "T", 3, "M", data_type="MAP", dtd_identifier="3", **none),
    ]
    sf.fill(home, "COLUMNS", [row | ids for row in structured])
    at = {"object_catalog": "D", "object_schema": "S", "object_name": "T"}
    text = {"data_type": "TEXT", "character_maximum_length": 7}
    number = {"data_type": "NUMBER", "numeric_precision": 4, "numeric_scale": 1}
    sf.fill(
        home, "ELEMENT_TYPES", [{**at, "collection_type_identifier": "1", "data_type": "OBJECT", "dtd_identifier": "2"}]
    )
    sf.fill(
        home,
        "FIELDS",
        [
            {**at, "row_identifier": "2", "field_name": "zip code", "ordinal_position": 2, **number},
            {**at, "row_identifier": "2", "field_name": "city", "ordinal_position": 1, **text},
            {**at, "row_identifier": "3", "field_name": "KEY", "ordinal_position": 1, **text},
            {**at, "row_identifier": "3", "field_name": "VALUE", "ordinal_position": 2, **number},
        ],
    )
    found = [c.type for c in read(sf, catalog=catalog)["T"].columns or ()]
    inside = 'OBJECT(city VARCHAR(7), "zip code" NUMBER(4,1))'
    assert found == [f"ARRAY({inside})", inside, "MAP(VARCHAR(7), NUMBER(4,1))"]


# When data changed


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"last_altered": NOW, "last_ddl": BORN}, NOW),
        ({"last_altered": NOW, "last_ddl": NOW}, None),
        ({"last_altered": NOW, "last_ddl": NOW - timedelta(milliseconds=300)}, None),
        ({"last_altered": NOW, "last_ddl": None}, NOW),
        ({"last_altered": BORN, "last_ddl": BORN, "created": BORN, "row_count": 9}, BORN),  # CREATE TABLE AS
        ({"last_altered": BORN, "last_ddl": BORN, "created": BORN, "row_count": 0}, None),
        ({"last_altered": None, "last_ddl": None}, None),
    ],
)
def test_a_change_by_ddl_alone_is_no_change_of_data(more, expected):
    known = None if expected is None else DataChange(at=expected, source=ChangeSource.DDL_POLLUTED)
    assert rows.data_change(table("D", "S", "T", **more), None) == known


def write(name: str, at) -> dict:
    return {
        "query_id": "q",
        "query_start_time": at,
        "objects_modified": [{"objectDomain": "Table", "objectName": name, "columns": []}],
    }


def test_the_log_of_writes_is_believed_before_last_altered(sf):
    sf.database("D")
    put(sf, table("D", "S", "T"), table("D", "S", "quiet"), table("D", "S", 'q"uo.ted'))
    at = NOW - timedelta(days=2)
    sf.fill(
        "ACCOUNT_USAGE",
        "ACCESS_HISTORY",
        [write("D.S.T", at - timedelta(hours=1)), write("D.S.T", at), write('D.S."q""uo.ted"', at), write("odd", at)],
    )
    found = read(sf)
    assert found["T"].data_change == DataChange(at=at, source=ChangeSource.WRITE_LOG)
    assert found['q"uo.ted'].data_change == DataChange(at=at, source=ChangeSource.WRITE_LOG)
    assert found["quiet"].data_change == DataChange(at=NOW - timedelta(days=1), source=ChangeSource.DDL_POLLUTED)


def test_without_the_log_of_writes_last_altered_serves_unless_it_is_required(sf):
    sf.database("D")
    put(sf, table("D", "S", "T"))
    sf.faults.append(Fault(on="ACCESS_HISTORY", times=NEVER, error=DENIED))
    assert read(sf)["T"].data_change == DataChange(at=NOW - timedelta(days=1), source=ChangeSource.DDL_POLLUTED)
    (gap,) = gaps(opened(sf, access_history="required").tables())
    assert "GRANT DATABASE ROLE SNOWFLAKE.GOVERNANCE_VIEWER TO ROLE" in gap.reason
    sf.statements.clear()
    assert not gaps(opened(sf, access_history="off").tables())
    assert not sf.asked("ACCESS_HISTORY")


def test_another_fault_than_a_missing_right_is_never_passed_over(sf):
    sf.database("D")
    put(sf, table("D", "S", "T"))
    sf.faults.append(Fault(on="ACCESS_HISTORY", error=(630, "57014", "Statement reached its timeout")))
    (gap,) = gaps(opened(sf).tables())
    assert gap.subject.endswith("ACCESS_HISTORY")


@given(st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1), min_size=3, max_size=3))
def test_a_qualified_name_is_read_back_whatever_stands_in_it(parts):
    assert rows.qualified(".".join(map(sql.quoted, parts))) == TableRef(
        database=parts[0], schema=parts[1], name=parts[2]
    )


@pytest.mark.parametrize("name", [None, "", "T", "S.T", "A.B.C.D", 'A.B."C', "@stage/a.b.c.d"])
def test_what_is_no_name_of_three_parts_is_left_alone(name):
    assert rows.qualified(name) is None


# Rights and losses


def test_denied_tags_are_a_gap_with_its_grant_and_the_tables_are_read(sf):
    sf.database("D")
    put(sf, table("D", "S", "T"))
    sf.faults.append(Fault(on="TAG_REFERENCES", times=NEVER, error=(3001, "42501", "Insufficient privileges")))
    found = list(opened(sf).tables())
    assert [item.ref for item in found if isinstance(item, TableSnapshot)] == [
        TableRef(database="D", schema="S", name="T")
    ]
    assert 'GRANT DATABASE ROLE SNOWFLAKE.GOVERNANCE_VIEWER TO ROLE "PUSHER"' in gaps(found)[0].reason
    assert len(sf.logins) == 1
    assert not gaps(opened(sf, tags=False).tables())


def test_a_database_dropped_between_two_statements_is_a_gap_and_the_others_are_read(sf):
    sf.database("A", "GONE", "Z")
    put(sf, *(table(d, "S", "T") for d in ("A", "GONE", "Z")))
    sf.drop_database("GONE")
    found = list(snapshots(opened(sf)))
    assert [item.ref.database for item in found if isinstance(item, TableSnapshot)] == ["A", "Z"]
    assert {gap.subject for gap in gaps(found)} == {"GONE"}
    assert "GRANT USAGE ON DATABASE" in gaps(found)[0].reason


def test_columns_that_are_denied_leave_columns_unknown_not_empty(sf):
    sf.database("D")
    put(sf, table("D", "S", "T"))
    sf.faults.append(Fault(on=r"INFORMATION_SCHEMA\.COLUMNS", times=NEVER, error=DENIED))
    found = list(snapshots(opened(sf)))
    assert [item.columns for item in found if isinstance(item, TableSnapshot)] == [None]
    assert gaps(found)


def test_what_is_asked_for_by_name_and_cannot_be_seen_is_a_gap(sf):
    sf.database("SHOP")
    put(sf, table("SHOP", "PUBLIC", "T"))
    found = list(opened(sf, scope=scope("shop.public", "shop.hidden", "vault.*")).tables())
    assert {gap.subject for gap in gaps(found)} == {"vault", "SHOP.hidden"}
    assert all("GRANT USAGE ON" in gap.reason for gap in gaps(found))


def test_a_permission_error_on_one_schema_is_a_gap_of_that_schema_alone(sf):
    sf.database("D")
    put(sf, table("D", "OPEN", "T"), table("D", "SHUT", "T"))
    sf.fill(
        "INFORMATION_SCHEMA",
        "SCHEMATA",
        [{"catalog_name": "D", "schema_name": n} for n in ("OPEN", "SHUT", "INFORMATION_SCHEMA")],
    )
    too_much = (90030, "22000", "Information schema query returned too much data. Please repeat query ...")
    sf.faults.append(Fault(on=r"(?s)TABLES AS t(?!.*table_schema = \?)", times=NEVER, error=too_much))
    sf.faults.append(Fault(on="(?s)TABLES AS t.*SHUT$", times=NEVER, error=(3001, "42501", "Insufficient privileges")))
    found = list(opened(sf).tables())
    assert [str(item.ref) for item in found if isinstance(item, TableSnapshot)] == ["D.OPEN.T"]
    assert [gap.subject for gap in gaps(found)] == ["D.SHUT"]


def test_a_database_too_large_for_one_answer_is_read_schema_by_schema(sf):
    sf.database("D")
    put(sf, table("D", "B", "T"), table("D", "A", "T"), table("D", "A", "S"))
    sf.fill("INFORMATION_SCHEMA", "SCHEMATA", [{"catalog_name": "D", "schema_name": n} for n in ("B", "A")])
    too_much = (90030, "22000", "Information schema query returned too much data. Please repeat query ...")
    for what in ("TABLES AS t", "COLUMNS AS c"):
        sf.faults.append(Fault(on=rf"(?s){what}(?!.*table_schema = \?)", times=NEVER, error=too_much))
    found = list(snapshots(opened(sf)))
    assert [str(item.ref) for item in found if isinstance(item, TableSnapshot)] == ["D.A.S", "D.A.T", "D.B.T"]
    assert not gaps(found)
    assert sf.refused == 2


def test_an_account_without_a_visible_database_reads_as_empty(sf):
    assert list(opened(sf).tables()) == []
    assert list(opened(sf).columns()) == []
    assert list(opened(sf).fingerprints()) == []


def test_an_empty_database_has_no_tables_and_one_fingerprint(sf):
    sf.database("D")
    assert list(opened(sf).tables()) == []
    assert [f.database for f in opened(sf).fingerprints() if not isinstance(f, Gap)] == ["D"]


def test_no_warehouse_is_said_in_one_sentence_with_the_way_out(sf):
    from mc_push_dagster.errors import FixConfiguration

    sf.database("D")
    sf.faults.append(Fault(on="INFORMATION_SCHEMA", times=NEVER, error=(606, "57P03", "No active warehouse")))
    with pytest.raises(FixConfiguration, match="set `warehouse`"):
        list(opened(sf).tables())


# ACCOUNT_USAGE


def test_account_usage_reads_the_whole_account_in_four_statements(sf):
    living = [
        {**table(d, "S", f"T{i}"), "table_id": i}
        for i, d in enumerate(["B", "A", "SNOWFLAKE", "SNOWFLAKE_SAMPLE_DATA"])
    ]
    others = [
        {**table("A", "S", "T1"), "table_id": 99, "deleted": NOW},
        {**table("A", "S", "T1", table_type="TEMPORARY TABLE"), "table_id": 98},
        {**table("A", "S", "T1"), "table_id": -1},  # dropped, but ACCOUNT_USAGE does not know it yet
    ]
    sf.fill("ACCOUNT_USAGE", "TABLES", [*living, *others])
    of = [(r["table_catalog"], r["table_name"], r["table_id"], "C") for r in living]
    of += [("A", "T1", r["table_id"], f"OTHER{i}") for i, r in enumerate(others)]
    sf.fill("ACCOUNT_USAGE", "COLUMNS", [{**column(d, "S", t, 1, c), "table_id": i} for d, t, i, c in of])
    found = list(snapshots(opened(sf, catalog="account_usage")))
    assert [(str(s.ref), [c.name for c in s.columns or ()]) for s in found if isinstance(s, TableSnapshot)] == [
        ("A.S.T1", ["C"]),
        ("B.S.T0", ["C"]),
    ]
    assert len(sf.statements) == 4
    assert [f.database for f in opened(sf, catalog="account_usage").fingerprints() if not isinstance(f, Gap)] == [
        "A",
        "B",
    ]


def test_account_usage_denied_names_its_database_role(sf):
    sf.faults.append(Fault(on="ACCOUNT_USAGE.TABLES", times=NEVER, error=DENIED))
    (gap,) = gaps(opened(sf, catalog="account_usage").tables())
    assert "GRANT DATABASE ROLE SNOWFLAKE.OBJECT_VIEWER TO ROLE" in gap.reason


# Cost


@pytest.mark.parametrize("tables", [1, 60])
def test_a_catalog_costs_the_same_number_of_statements_however_many_tables(sf, tables):
    names = ("A", "B", "C")
    sf.database(*names)
    kinds = [{}, {"table_type": "MATERIALIZED VIEW"}, {"is_dynamic": "YES"}]
    put(sf, *(table(d, f"S{i % 7}", f"T{i}", **kinds[i % 3]) for d in names for i in range(tables)))
    read(sf)
    # 2 to begin with, 2 x SHOW DATABASES, a database: tables, columns, materialized views, dynamic tables.
    assert len(sf.statements) <= 4 + len(names) * (2 if tables == 1 else 4)
    assert len(sf.logins) == 2  # tables() and columns() are read side by side


def test_freshness_and_volume_alone_ask_for_no_columns(sf):
    sf.database("D")
    put(sf, table("D", "S", "T"))
    list(snapshots(opened(sf), with_columns=False))
    assert not sf.asked("COLUMNS")


def test_system_databases_are_skipped_by_exact_name(sf):
    sf.database("SNOWFLAKE", "SNOWFLAKE_SAMPLE_DATA", "MY_SNOWFLAKE")
    put(sf, table("MY_SNOWFLAKE", "INFORMATION_SCHEMA", "TABLES"), table("MY_SNOWFLAKE", "S", "T"))
    assert list(read(sf)) == ["T"]
    assert not sf.asked('"SNOWFLAKE"|SAMPLE')


def test_scope_travels_as_bind_parameters(sf):
    sf.database("SHOP")
    put(sf, table("SHOP", "SALES", "A_B"), table("SHOP", "SALES", "AXB"), table("SHOP", "OPS", "A_B"))
    found = list(opened(sf, scope=scope("shop.sales.a_b")).tables())
    assert [str(item.ref) for item in found] == ["SHOP.SALES.A_B"]
    (text,) = sf.asked("TABLES AS t")
    assert "sales" not in text.lower().replace("table_schema", "")
    bound = sf.bindings[sf.statements.index(text)]
    assert [b["value"] for b in bound.values()] == ["shop", "sales", "a\\_b"]


# Size


def test_a_table_of_a_thousand_columns_is_read_in_order(sf):
    sf.database("D")
    sf.chunk_rows = 300
    put(sf, table("D", "S", "WIDE"), columns=1000)
    assert [c.name for c in read(sf)["WIDE"].columns or ()] == [f"C{i}" for i in range(1, 1001)]
    assert sf.chunk_gets >= 3


def test_a_schema_of_ten_thousand_tables_is_streamed_over_result_chunks(sf):
    sf.database("D")
    sf.chunk_rows = 1000
    sf.fill("INFORMATION_SCHEMA", "TABLES", [table("D", "S", f"T{i:05}") for i in range(10_000)])
    seen = [item.ref.name for item in opened(sf).tables() if isinstance(item, TableSnapshot)]
    assert seen == [f"T{i:05}" for i in range(10_000)]
    assert sf.chunk_gets == 9
    assert len(sf.asked("TABLES AS t")) == 1


def test_a_lost_catalog_read_is_an_error_never_a_shorter_catalog(sf):
    sf.database("D")
    put(sf, table("D", "S", "T"))
    sf.faults.append(Fault(on="TABLES AS t", times=NEVER, lose_session=True))
    with pytest.raises(WarehouseUnavailable, match="session was lost"):
        list(opened(sf).tables())
