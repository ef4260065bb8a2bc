"""Ordered streams of several statements joined without holding any of them."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from mc_push_dagster.model import Gap
from mc_push_dagster.warehouses import _bigquery_rows as rows
from mc_push_dagster.warehouses._bigquery_session import UNREADABLE, Row

Item = TypeVar("Item")


def merged(streams: Iterable[Iterator[Item | Gap]], *, key: Callable[[Item], Any]) -> Iterator[Item | Gap]:
    """Merge ordered streams into one; gaps come as they are met."""
    heads: list[tuple[Any, int, Item, Iterator[Item | Gap]]] = []
    for number, stream in enumerate(streams):
        yield from _advance(heads, number, stream, key)
    while heads:
        _, number, item, stream = heapq.heappop(heads)
        yield item
        yield from _advance(heads, number, stream, key)


def _advance(
    heads: list[tuple[Any, int, Item, Iterator[Item | Gap]]],
    number: int,
    stream: Iterator[Item | Gap],
    key: Callable[[Item], Any],
) -> Iterator[Gap]:
    """Put the next item of a stream among the heads; yield the gaps before it."""
    for item in stream:
        if not isinstance(item, Gap):
            heapq.heappush(heads, (key(item), number, item, stream))
            return
        yield item


class Beside:
    """A statement read in step with another of the same order; nothing is asked before the first key."""

    def __init__(self, read: Callable[[], Iterator[Row]], *, subject: str, why: Callable[[Exception], str]) -> None:
        self._read = read
        self._subject = subject
        self._why = why
        self._rows: Iterator[Row] | None = None
        self._ahead: Row | None = None
        self.gaps: list[Gap] = []

    def of(self, key: tuple[str, str, str]) -> list[Row]:
        """The rows of `key`; keys must ascend. None after the statement has failed: that is a gap."""
        if self._rows is None:
            self._rows = self._read()
            self._step()
        found: list[Row] = []
        while self._ahead is not None and rows.key(self._ahead) <= key:
            if rows.key(self._ahead) == key:
                found.append(self._ahead)
            self._step()
        return found

    def _step(self) -> None:
        assert self._rows is not None
        try:
            self._ahead = next(self._rows, None)
        except UNREADABLE as error:
            self._ahead = None
            self._rows = iter(())
            self.gaps.append(Gap(subject=self._subject, reason=self._why(error)))
