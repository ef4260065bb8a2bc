"""Reads a list of tables with calls that fail as a whole if one of them is bad: finds the bad ones by halving."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from mc_push_dagster.warehouses._thrift import StatementError

CHUNK = 500
"""Names in one call (measured: the servers take 500)."""
GIVE_UP = 20
"""After so many tables in a row that fail, with none that works, the schema is closed to us: stop asking."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unread:
    """A table that the server could not describe, and its words."""

    name: str
    reason: str


class Halving(Generic[T]):
    """One schema's worth of reading; remembers whether anything worked."""

    def __init__(self, fetch: Callable[[Sequence[str]], list[T]]) -> None:
        self._fetch = fetch
        self._worked = False
        self._failures = 0
        self._reason = ""

    def read(self, names: Sequence[str]) -> Iterator[T | Unread]:
        """What `fetch` gives for `names`, in their order, with `Unread` for those it fails on."""
        for start in range(0, len(names), CHUNK):
            yield from self._read(names[start : start + CHUNK])

    def _read(self, names: Sequence[str]) -> Iterator[T | Unread]:
        if not self._worked and self._failures >= GIVE_UP:
            yield from (Unread(name, self._reason) for name in names)
            return
        try:
            found = self._fetch(names)
        except StatementError as error:
            if len(names) == 1:
                self._failures += 1
                self._reason = str(error)
                yield Unread(names[0], self._reason)
                return
            half = len(names) // 2
            yield from self._read(names[:half])
            yield from self._read(names[half:])
            return
        self._worked = True
        yield from found
