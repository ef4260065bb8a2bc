"""The sandbox's time: a clock plus a shift that tests and users move, kept in the store so that processes agree."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from mc_push_dagster.sandbox.store import Store

_SHIFT = "clock_shift_microseconds"


def system_time() -> datetime:
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """Write a time as the store keeps it: UTC, ISO 8601, always microseconds, so that text order is time order."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def moment(text: str) -> datetime:
    """Read an ISO 8601 time; without a zone it is taken as UTC (a date alone is its midnight).

    Raises:
        ValueError: if the text is no such time.
    """
    value = datetime.fromisoformat(text)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class VirtualClock:
    """Tells the sandbox's time and moves it forward."""

    def __init__(self, store: Store, base: Callable[[], datetime] = system_time) -> None:
        self._store = store
        self._base = base

    def now(self) -> datetime:
        return self._base().astimezone(UTC) + self.shift()

    def shift(self) -> timedelta:
        return timedelta(microseconds=int(self._store.setting(_SHIFT) or 0))

    def advance(self, by: timedelta) -> datetime:
        """Move the time forward for every process on the same folder; return the new time.

        Raises:
            ValueError: if `by` is negative.
        """
        if by < timedelta(0):
            raise ValueError("the sandbox's clock only moves forward")
        with self._store.write() as db:
            db.execute(
                "INSERT INTO setting VALUES (?, ?) ON CONFLICT (name) DO UPDATE"
                " SET value = CAST(value AS INTEGER) + CAST(excluded.value AS INTEGER)",
                (_SHIFT, str(by // timedelta(microseconds=1))),
            )
        return self.now()
