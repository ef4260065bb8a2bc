"""The nouns refuse what could not be true: naive times, negative or odd numbers, empty windows, broken patterns."""

from __future__ import annotations

import dataclasses
import inspect
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_push_dagster import model
from mc_push_dagster.model import (
    AssetType,
    ChangeSource,
    DataChange,
    QueryRecord,
    Scope,
    TablePattern,
    TableRef,
    TableSnapshot,
    Window,
    hour_bucket,
    utc,
)

REF = TableRef(database="Db", schema="public", name="T")
MOMENTS = st.datetimes(
    min_value=datetime(1971, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.timezones(no_cache=True) | st.just(UTC)
)
LISBON = timezone(timedelta(hours=1))


def snapshot(**more) -> TableSnapshot:
    return TableSnapshot(ref=REF, asset_type=AssetType.TABLE, native_type="BASE TABLE", **more)


# Time


@given(MOMENTS)
def test_utc_keeps_the_moment_and_hour_bucket_is_its_utc_hour(moment):
    assert utc(moment) == moment.astimezone(UTC)
    assert utc(moment).utcoffset() == timedelta(0)
    bucket = hour_bucket(moment)
    assert timedelta(0) <= moment.astimezone(UTC) - bucket < timedelta(hours=1)
    assert (bucket.minute, bucket.second, bucket.microsecond) == (0, 0, 0)


@pytest.mark.parametrize("use", [utc, hour_bucket, Window.hour], ids=["utc", "hour_bucket", "Window.hour"])
def test_a_time_without_zone_is_refused_and_not_guessed(use):
    with pytest.raises(ValueError, match="time without a zone"):
        use(datetime(2026, 1, 1))


def test_half_hour_zones_fall_into_utc_hours():
    kolkata = timezone(timedelta(hours=5, minutes=30))
    assert hour_bucket(datetime(2026, 1, 1, 6, 15, tzinfo=kolkata)) == datetime(2026, 1, 1, 0, tzinfo=UTC)


@given(MOMENTS, st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=3)))
def test_hours_of_a_window_are_adjacent_full_and_cover_it(start, length):
    window = Window(start=start, end=utc(start) + length)
    hours = list(window.hours())
    assert hours[0].start <= window.start < hours[0].end
    assert hours[-1].start < window.end <= hours[-1].end
    assert all(one.end == other.start for one, other in pairwise(hours))
    assert all(hour.end - hour.start == timedelta(hours=1) for hour in hours)


def test_a_window_is_half_open_and_reads_as_utc():
    window = Window(start=datetime(2026, 1, 1, 13, tzinfo=LISBON), end=datetime(2026, 1, 1, 14, tzinfo=LISBON))
    assert window.start in window
    assert window.end not in window
    assert str(window) == "2026-01-01T12:00:00Z/2026-01-01T13:00:00Z"


@pytest.mark.parametrize("length", [timedelta(0), timedelta(seconds=-1)])
def test_an_empty_or_backward_window_is_refused(length):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(ValueError, match="ends at or before its start"):
        Window(start=start, end=start + length)


# Tables


def test_ids_keep_the_warehouses_case():
    assert str(REF) == "Db.public.T"
    assert REF.full_table_id == "Db:public.T"
    assert REF.parts == ("Db", "public", "T")


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3), st.text(max_size=3))))
def test_refs_sort_by_code_point_of_database_schema_name(parts):
    refs = [TableRef(database=d, schema=s, name=n) for d, s, n in parts]
    assert [r.parts for r in sorted(refs)] == sorted(parts)


@pytest.mark.parametrize("field", ["row_count", "byte_count"])
@pytest.mark.parametrize("value", [-1, 1.0, True, "1"], ids=repr)
def test_counts_are_plain_whole_numbers_or_unknown(field, value):
    with pytest.raises(ValueError, match=rf"Db\.public\.T: {field} must be a plain int"):
        snapshot(**{field: value})


@pytest.mark.parametrize("field", ["row_count", "byte_count"])
def test_zero_and_unknown_stay_apart(field):
    assert getattr(snapshot(**{field: 0}), field) == 0
    assert getattr(snapshot(), field) is None


def test_a_numpy_count_is_refused_before_it_breaks_json():
    numpy = pytest.importorskip("numpy")
    with pytest.raises(ValueError, match="plain int"):
        snapshot(row_count=numpy.int64(5))


def test_times_of_a_table_are_kept_in_utc():
    at = datetime(2026, 1, 1, 13, tzinfo=LISBON)
    read = snapshot(created_at=at, data_change=DataChange(at=at, source=ChangeSource.SNAPSHOT))
    assert read.created_at is not None
    assert read.created_at.tzinfo is UTC
    assert read.data_change is not None
    assert read.data_change.at.tzinfo is UTC
    with pytest.raises(ValueError, match="time without a zone"):
        snapshot(created_at=datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("error", "failed"),
    [({}, False), ({"error_code": "42"}, True), ({"error_text": "no"}, True), ({"error_text": ""}, True)],
)
def test_a_query_failed_if_it_has_an_error(error, failed):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert QueryRecord(text="SELECT 1", started_at=now, ended_at=now, **error).failed is failed


def test_every_noun_is_frozen_and_keyword_only():
    nouns = [cls for _, cls in inspect.getmembers(model, dataclasses.is_dataclass) if cls.__module__ == model.__name__]
    assert len(nouns) > 10
    for noun in nouns:
        assert noun.__dataclass_params__.frozen, noun
        assert all(field.kw_only for field in dataclasses.fields(noun)), noun


# Scope


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("shop", ("shop", "*", "*")),
        ("shop.raw", ("shop", "raw", "*")),
        ("*.raw.ord*", ("*", "raw", "ord*")),
        ('shop."odd.schema".*', ("shop", "odd.schema", "*")),
        ('"say ""hi"""', ('say "hi"', "*", "*")),
    ],
)
def test_a_pattern_reads_from_the_database_on(text, parts):
    assert TablePattern.parse(text).parts == parts


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "a.b.c.d", '"open', 'a"b"', '""'])
def test_a_broken_pattern_is_refused(text):
    with pytest.raises(ValueError, match="not a table pattern"):
        TablePattern.parse(text)


def test_patterns_ignore_case_and_know_no_other_wildcards_than_two():
    assert TablePattern.parse("DB.PUBLIC.t").matches(REF)
    assert TablePattern(name="?").matches(REF)
    bracketed = TablePattern(name="[T]")
    assert not bracketed.matches(REF)
    assert bracketed.matches(TableRef(database="d", schema="s", name="[t]"))


def test_exclusion_wins_over_inclusion():
    scope = Scope(include=(TablePattern.parse("db"),), exclude=(TablePattern.parse("db.public.t"),))
    assert not scope.covers(REF)
    assert scope.covers(TableRef(database="db", schema="public", name="other"))
    assert not scope.covers(TableRef(database="elsewhere", schema="public", name="other"))
    assert scope.covers_database("db")
    assert scope.covers_schema("db", "public")


def test_a_whole_excluded_schema_or_database_need_not_be_read():
    scope = Scope(exclude=(TablePattern.parse("db.secret"), TablePattern.parse("gone")))
    assert not scope.covers_schema("db", "secret")
    assert scope.covers_schema("db", "public")
    assert not scope.covers_database("GONE")
    assert not scope.is_everything
    assert Scope().is_everything
