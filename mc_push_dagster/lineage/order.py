"""Statements in the order in which they ran, although a log may hold them in another."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import count

from mc_push_dagster.lineage.statement import Statement

WINDOW = 10_000
_EARLIEST = datetime.min.replace(tzinfo=UTC)


def in_order(statements: Iterable[Statement], *, window: int = WINDOW) -> Iterator[Statement]:
    """The statements by time, as far as `window` of them held at once can sort them; those without a time stay first.

    Statements of one time keep their order.
    """
    heap: list[tuple[datetime, int, Statement]] = []
    serial = count()
    for statement in statements:
        heapq.heappush(heap, (statement.at or _EARLIEST, next(serial), statement))
        if len(heap) > window:
            yield heapq.heappop(heap)[2]
    while heap:
        yield heapq.heappop(heap)[2]
