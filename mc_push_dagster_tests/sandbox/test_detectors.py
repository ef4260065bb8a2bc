"""Detector states by the documented numbers, on both sides of each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mc_push_dagster.sandbox.detectors import Detector, Sample, freshness, hourly, volume

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def updates(count: int, every: timedelta, *, end: datetime = NOW) -> list[Sample]:
    """Pushes `every` so often, each with a new time of data change."""
    return [Sample(at=end - every * n, last_update=end - every * n - HOUR) for n in range(count)][::-1]


def counts(number: int, every: timedelta, *, end: datetime = NOW) -> list[Sample]:
    return [Sample(at=end - every * n, row_count=n) for n in range(number)][::-1]


@pytest.mark.parametrize(
    ("samples", "status"),
    [
        ([], "TRAINING"),
        (updates(6, DAY), "TRAINING"),
        (updates(7, DAY), "ACTIVE"),
        (updates(7, HOUR), "INACTIVE"),
        (updates(80, HOUR), "ACTIVE"),
        (updates(79, HOUR), "INACTIVE"),
    ],
    ids=["none", "six", "seven daily", "seven hourly: coverage", "80 hourly: 80/528", "79 hourly: 79/528"],
)
def test_freshness_needs_seven_changed_times_and_coverage(samples: list[Sample], status: str) -> None:
    assert freshness(samples, NOW).status == status


def test_a_repeated_time_is_no_new_sample() -> None:
    same = [Sample(at=NOW - DAY * n, last_update=NOW - DAY * 40) for n in range(20)][::-1]
    assert freshness(same, NOW) == Detector(status="TRAINING", reason="1 of 7 samples")


def test_a_slow_table_needs_fewer_samples() -> None:
    assert freshness(updates(4, timedelta(days=7)), NOW).status == "ACTIVE"


def test_updates_further_apart_than_the_supported_cycle_are_not_watched() -> None:
    assert freshness(updates(4, timedelta(days=8)), NOW).status == "INACTIVE"


@pytest.mark.parametrize(
    ("days", "status"), [(6.9, "ACTIVE"), (7.1, "INACTIVE"), (13.9, "INACTIVE"), (14.1, "INACTIVE")]
)
def test_silence_switches_freshness_off(days: float, status: str) -> None:
    end = NOW - timedelta(days=days)
    assert freshness(updates(20, DAY, end=end), NOW).status == status


def test_the_two_gap_rules_give_their_documented_reasons() -> None:
    assert freshness(updates(20, DAY, end=NOW - 8 * DAY), NOW).reason == "gap of over a week in last 2 weeks"
    assert freshness(updates(20, DAY, end=NOW - 15 * DAY), NOW).reason == "no recent data"


@pytest.mark.parametrize(
    ("samples", "status"),
    [
        (counts(9, DAY), "TRAINING"),
        (counts(10, DAY), "INACTIVE"),
        (counts(13, DAY), "ACTIVE"),
        (counts(47, HOUR), "TRAINING"),
        (counts(48, HOUR), "TRAINING"),
        (counts(303, HOUR), "ACTIVE"),
        (counts(302, HOUR), "INACTIVE"),
        (counts(4, 7 * DAY), "TRAINING"),
        (counts(5, 7 * DAY), "ACTIVE"),
    ],
    ids=["9d", "10d: 10/42", "13d: 13/42", "47h", "48h: young", "303h", "302h: 302/1008", "4w", "5w"],
)
def test_volume_needs_its_samples_and_coverage(samples: list[Sample], status: str) -> None:
    assert volume(samples, NOW).status == status


def test_volume_fades_as_the_window_rolls_on() -> None:
    samples = counts(20, DAY)
    assert volume(samples, NOW).status == "ACTIVE"
    assert volume(samples, NOW + 35 * DAY).status == "INACTIVE"


def test_irregular_pushes_do_not_make_a_volume_detector() -> None:
    steps = [timedelta(hours=1), timedelta(days=3)] * 15
    times, at = [], NOW
    for step in steps:
        times.append(at)
        at -= step
    samples = [Sample(at=t, row_count=1) for t in reversed(times)]
    assert volume(samples, NOW).status == "INACTIVE"


def test_pushes_within_one_hour_count_once() -> None:
    start = NOW.replace(minute=0)
    often = [Sample(at=start + timedelta(minutes=m), row_count=m) for m in range(0, 60, 5)]
    assert hourly(often) == [often[-1]]
