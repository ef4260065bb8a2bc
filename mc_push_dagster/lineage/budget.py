"""What one text may cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType


class OverBudget(Exception):
    """A statement costs more than it may."""

    reason = "over budget"


class OutOfTime(OverBudget):
    """A statement took longer than it may."""

    reason = "out of time"


class TooWide(OverBudget):
    """A query gives more columns than any table can have."""

    reason = "too many columns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits of one text; beyond them only table names are read, and beyond those nothing."""

    seconds: float = 5.0
    tokens: int = 120_000
    """Longer statements are not parsed: a second holds about 100,000 tokens."""
    depth: int = 150
    characters: int = 10_000_000
    now: Callable[[], float] = time.perf_counter

    def start(self) -> Clock:
        """A clock that runs from now."""
        return Clock(self)


class Clock:
    """Tells a walk when to stop."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._end = budget.now() + budget.seconds

    def tick(self) -> None:
        """Go on, or raise `OutOfTime`."""
        if self._budget.now() > self._end:
            raise OutOfTime

    def extend(self) -> None:
        """Give what falls back to table names a tenth of the time again."""
        self._end = self._budget.now() + self._budget.seconds / 10

    def __enter__(self) -> Clock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
