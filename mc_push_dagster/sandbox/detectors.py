"""Detector states by Monte Carlo's documented numbers: the rules that switch a detector on and off, no anomaly model.

Sources: push-ingest-api, "Anomaly detection", and the skill's references/anomaly-detection.md (formulas of coverage,
the gap rule, minimum age, regularity). A detector is TRAINING while it has too few samples, INACTIVE where a condition
switched it off (push-ingest-api, Troubleshooting, "Anomaly detectors aren't firing").
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

Status = Literal["ACTIVE", "INACTIVE", "TRAINING"]

FRESHNESS_WINDOW = timedelta(days=35)
FRESHNESS_SAMPLES = 7
FRESHNESS_SLOW_COVERAGE = 0.8
"""skill: 7 samples "or coverage >= 0.8 for slow tables"."""
FRESHNESS_COVERAGE = 0.15
FRESHNESS_COVERAGE_SPAN = timedelta(days=22)
FRESHNESS_GAP = timedelta(days=14)
FAST_UPDATES = timedelta(hours=26.4)
FAST_GAP = timedelta(days=7)
CYCLE_MIN, CYCLE_MAX = timedelta(minutes=5), timedelta(days=7.7)

VOLUME_WINDOW = timedelta(days=42)
VOLUME_COVERAGE = 0.30
VOLUME_AGE = timedelta(days=5)
VOLUME_REGULARITY = 0.2
SUB_DAILY = timedelta(hours=18)
"""Inferred: below this median interval a table counts as sub-daily (skill: "~12x/day"), above `WEEKLY` as weekly."""
WEEKLY = timedelta(days=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one push said about one table."""

    at: datetime
    row_count: int | None = None
    byte_count: int | None = None
    last_update: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A detector's state, and in words why it is not active."""

    status: Status
    reason: str | None = None


def hourly(samples: Sequence[Sample]) -> list[Sample]:
    """The last sample of each UTC hour (push-ingest-api, "Push frequency": hourly buckets)."""
    return list({s.at.strftime("%Y%m%d%H"): s for s in sorted(samples, key=lambda s: s.at)}.values())


def freshness(samples: Sequence[Sample], now: datetime) -> Detector:
    """The state of the freshness detector."""
    known = [s for s in hourly(samples) if s.last_update is not None]
    if not known:
        return Detector(status="TRAINING", reason=f"0 of {FRESHNESS_SAMPLES} samples")
    pushes = [s.at for s in known]
    if now - pushes[-1] > FRESHNESS_GAP:
        return Detector(status="INACTIVE", reason="no recent data")
    times = _changed([s for s in known if now - s.at <= FRESHNESS_WINDOW])
    steps = [b - a for a, b in pairwise(times) if b > a]
    median = _median(steps)
    coverage = median * len(times) / FRESHNESS_COVERAGE_SPAN
    if len(times) < FRESHNESS_SAMPLES and coverage < FRESHNESS_SLOW_COVERAGE:
        return _too_few(len(times), FRESHNESS_SAMPLES, older=now - pushes[0] > FRESHNESS_WINDOW)
    if coverage < FRESHNESS_COVERAGE:
        return Detector(status="INACTIVE", reason=f"coverage {coverage:.2f} of {FRESHNESS_COVERAGE:.2f}")
    if not CYCLE_MIN <= median <= CYCLE_MAX:
        return Detector(status="INACTIVE", reason="updates are not between 5 minutes and 7.7 days apart")
    recent = [p for p in pushes if now - p <= FRESHNESS_GAP]
    if median <= FAST_UPDATES and any(b - a > FAST_GAP for a, b in pairwise([*recent, now])):
        return Detector(status="INACTIVE", reason="gap of over a week in last 2 weeks")
    return Detector(status="ACTIVE")


def volume(samples: Sequence[Sample], now: datetime) -> Detector:
    """The state of the volume detectors (size difference and unchanged size share their rules)."""
    known = [s for s in hourly(samples) if s.row_count is not None or s.byte_count is not None]
    times = [s.at for s in known if now - s.at <= VOLUME_WINDOW]
    steps = [b - a for a, b in pairwise(times)]
    median = _median(steps)
    needed = 10 if not steps else 48 if median < SUB_DAILY else 5 if median > WEEKLY else 10
    if len(times) < needed:
        return _too_few(len(times), needed, older=bool(known) and now - known[0].at > VOLUME_WINDOW)
    if now - known[0].at < VOLUME_AGE:
        return Detector(status="TRAINING", reason="the table is younger than 5 days")
    coverage = len(times) * median / VOLUME_WINDOW
    if coverage < VOLUME_COVERAGE:
        return Detector(status="INACTIVE", reason=f"coverage {coverage:.2f} of {VOLUME_COVERAGE:.2f}")
    low, _, high = statistics.quantiles([s.total_seconds() for s in steps], n=4)
    # The skill asks for "75th/25th percentile >= 0.2", which always holds; the inverse is what tells regular from not.
    if low / high < VOLUME_REGULARITY:
        return Detector(status="INACTIVE", reason="updates are too irregular")
    return Detector(status="ACTIVE")


def expected_update(samples: Sequence[Sample], now: datetime) -> timedelta | None:
    """The median time between two data changes, once it can be told."""
    times = _changed([s for s in hourly(samples) if s.last_update is not None and now - s.at <= FRESHNESS_WINDOW])
    return _median([b - a for a, b in pairwise(times) if b > a]) or None


def _changed(samples: Sequence[Sample]) -> list[datetime]:
    """Update times that differ from the one before (push-ingest-api: "Repeated identical timestamps do not count")."""
    times: list[datetime] = []
    for sample in samples:
        if sample.last_update is not None and (not times or sample.last_update != times[-1]):
            times.append(sample.last_update)
    return times


def _too_few(have: int, need: int, *, older: bool) -> Detector:
    # Push-ingest-api names "not enough samples" among the reasons to switch off: that is a table that had them once.
    return Detector(status="INACTIVE" if older else "TRAINING", reason=f"{have} of {need} samples")


def _median(steps: Sequence[timedelta]) -> timedelta:
    return timedelta(seconds=statistics.median(s.total_seconds() for s in steps)) if steps else timedelta(0)
