"""Progress of a push in a run's log: one line a step every few seconds, however many items pass."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import dagster as dg


class RunLog:
    """Counts what each step has done and writes it to Dagster's log, at most one line in `seconds`."""

    def __init__(
        self, log: dg.DagsterLogManager, *, seconds: float = 10, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._seconds = seconds
        self._clock = clock
        self._done: Counter[str] = Counter()
        self._last = clock()

    def advance(self, step: str, done: int, total: int | None = None) -> None:
        self._done[step] += done
        if (now := self._clock()) - self._last >= self._seconds:
            self._last = now
            of = f" of {total}" if total is not None else ""
            self._log.info("%s %d%s", step, self._done[step], of)
