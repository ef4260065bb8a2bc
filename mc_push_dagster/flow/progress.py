"""How the steps tell how far they are, without knowing who looks."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told of each piece of work done; the command line draws bars, Dagster logs, tests ignore."""

    def advance(self, step: str, done: int, total: int | None = None) -> None:
        """`done` more items of `step` (`collected`, `sent` ...) are finished, of `total` where it is known."""
        ...


class Silent:
    """Tells nobody."""

    def advance(self, step: str, done: int, total: int | None = None) -> None:
        return
