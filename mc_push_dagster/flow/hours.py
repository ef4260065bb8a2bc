"""Volume and freshness once an hour and table, to the last attempt: a body may only leave in an hour that it has
claimed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from mc_push_dagster.flow.batch import joined, rebuild
from mc_push_dagster.flow.consequences import pushed_tables
from mc_push_dagster.flow.deliver import Means, Parcel, replace_body
from mc_push_dagster.model import Feed, hour_bucket


class HourGate:
    """Knows the hour that each body stands for.

    A push that begins at 10:59 and sends at 11:01 lands in Monte Carlo's bucket of 11:00 (push-ingest-api, "Push
    frequency"), so the hour is claimed again when it turns.
    """

    def __init__(self, means: Means, *, hour: datetime, clock: Callable[[], datetime]) -> None:
        self._means = means
        self._hour = hour
        self._clock = clock
        self._hours: dict[int, datetime] = {}

    def hour_of(self, parcel: Parcel) -> datetime:
        """The hour that a body's volume and freshness stand for."""
        return self._hours.get(parcel.record.seq, self._hour)

    def admit(self, parcel: Parcel) -> list[Parcel] | None:
        """None if the body may be sent now; else what may be sent in its place, perhaps nothing."""
        if parcel.record.feed is not Feed.METADATA:
            return None
        hour = hour_bucket(self._clock())
        if hour == self.hour_of(parcel):
            return None
        self._hours[parcel.record.seq] = hour
        parts = claimed(parcel, hour, self._means)
        for part in parts or ():
            self._hours[part.record.seq] = hour
        return parts


def claimed(parcel: Parcel, hour: datetime, means: Means) -> list[Parcel] | None:
    """Claim `hour` for a metadata body: None if all of it may go out, else the body without what another push has
    claimed.
    """
    record = parcel.record
    tables = list(pushed_tables(parcel.body))
    measured = {table.ref for table in tables if table.measured}
    # Views are claimed with the rest, though they have nothing to measure, so that they go out once an hour as well.
    wanted = measured | {table.ref for table in tables if table.is_view}
    if not wanted:
        return None
    held = means.ledger.claim(parcel.target_uuid, wanted, hour=hour, push_id=record.push_id)
    if held >= measured:
        return None
    envelope, wires = rebuild(parcel.body)
    left = [wire for wire, table in zip(wires, tables, strict=True) if table.ref in held or not table.measured]
    if left:
        return replace_body(parcel, [joined(record.feed, envelope, left)], means=means)
    means.ledger.supersede(record.push_id, record.seq, reason="another push sent this hour's volume and freshness")
    return []
