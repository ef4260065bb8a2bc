"""A session: temporary tables are followed through, renames and swaps resolved, what is dropped again forgotten.

A session's flows are held until it ends, because a rename that comes last says where the first insert really went
(dbt builds `x__dbt_tmp` and renames it; others swap).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from mc_push_dagster.lineage.names import Name
from mc_push_dagster.lineage.relations import STAR, Source
from mc_push_dagster.lineage.steps import Create, Drop, Flow, Rename, Step, Swap, Transaction

Tag = TypeVar("Tag")
Key = tuple[str, ...]
ColumnFlow = tuple[Source, str]


@dataclass(slots=True)
class Held(Generic[Tag]):
    """One flow with the tables it reads resolved as far as the session tells, and the caller's own mark on it."""

    tag: Tag
    flow: Flow
    destination: Name | None
    reads: dict[Name, None]
    columns: dict[ColumnFlow, None]
    changed: bool = False
    """True if the session made something else of it than the statement alone says."""


@dataclass(slots=True)
class Content:
    """What stands in a table that the session made: where its rows and its columns come from."""

    reads: dict[Name, None] = field(default_factory=dict)
    columns: dict[str, dict[Source, None]] = field(default_factory=dict)
    """Lower-case column -> its sources."""

    held: list[Held[Any]] = field(default_factory=list)
    """The flows that filled the table, until something reads it."""
    names: dict[str, str] = field(default_factory=dict)
    """Lower-case column -> the column as it is written."""

    def add(self, reads: Iterable[Name], columns: Iterable[ColumnFlow]) -> None:
        self.reads.update(dict.fromkeys(reads))
        for source, column in columns:
            self.columns.setdefault(column.lower(), {})[source] = None
            self.names.setdefault(column.lower(), column)

    def sources(self, column: str, target: str) -> Iterator[ColumnFlow]:
        """Where a column of the table comes from; through a star that was never expanded, by its name."""
        if column == STAR:
            for name, sources in self.columns.items():
                yield from ((source, self.names[name] if target == STAR else target) for source in sources)
        elif column.lower() in self.columns:
            yield from ((source, target) for source in self.columns[column.lower()])
        else:
            for table, name in self.columns.get(STAR, ()):
                yield (table, column if name == STAR else name), target


def key_of(name: Name) -> Key:
    """A name without regard to case, and without the schemas that hold temporary tables."""
    lowered = tuple(part.lower() for part in name)
    return lowered[-1:] if len(lowered) > 1 and lowered[-2] in ("_session", "pg_temp", "session") else lowered


class Session(Generic[Tag]):
    """The state of one session, fed step by step in the order of time."""

    def __init__(self) -> None:
        self._held: list[Held[Tag]] = []
        self._temps: dict[Key, Content] = {}
        self._made: set[Key] = set()
        """Tables that the session created, or moved another table out of the way to: dropping them leaves nothing."""
        self._columns: dict[Key, tuple[Name, Sequence[str] | None]] = {}
        self._begun: int | None = None

    @property
    def known_columns(self) -> dict[Name, Sequence[str] | None]:
        """Tables that the session made, with their columns where these are known."""
        return dict(self._columns.values())

    def made(self, names: Iterable[Name]) -> dict[Name, Sequence[str] | None]:
        """Those of `names` that the session made, with their columns where these are known."""
        found = (self._columns.get(key_of(name)) for name in names)
        return dict(entry for entry in found if entry is not None)

    def concerns(self, flow: Flow) -> bool:
        """True if a flow reads or writes what the session made: then the catalog alone cannot tell its columns."""
        names = flow.reads if flow.destination is None else (*flow.reads, flow.destination)
        return bool(self._columns) and any(key_of(name) in self._columns for name in names)

    def feed(self, step: Step, tag: Tag) -> None:
        """Take the next step."""
        if isinstance(step, Flow):
            self._flow(step, tag)
        elif isinstance(step, Create):
            self._create(step.name, step.columns, temporary=step.temporary)
        elif isinstance(step, Drop):
            self._drop(step.name)
        elif isinstance(step, Rename):
            self._rename({key_of(step.old): step.new})
        elif isinstance(step, Swap):
            self._rename({key_of(step.first): step.second, key_of(step.second): step.first})
        elif step is Transaction.BEGIN:
            self._begun = len(self._held)
        elif step is Transaction.COMMIT:
            self._begun = None
        elif step is Transaction.ROLLBACK and self._begun is not None:
            del self._held[self._begun :]
            self._begun = None

    def finish(self) -> Iterator[Held[Tag]]:
        """What the session moved, in order, and forget it; temporary tables stay known."""
        held, self._held = self._held, []
        self._begun = None
        yield from held

    def unread(self) -> Iterator[Held[Tag]]:
        """What went into temporary tables that nothing has read."""
        for content in self._temps.values():
            yield from content.held

    def __len__(self) -> int:
        return len(self._held)

    def _flow(self, flow: Flow, tag: Tag) -> None:
        reads, columns = self._through(flow.reads, flow.columns)
        destination = flow.destination
        if destination is not None:
            if flow.creates:
                self._create(destination, flow.outputs, temporary=flow.temporary)
            content = self._temps.get(key_of(destination))
            if content is not None:
                if not flow.shape:
                    content.add(reads, columns)
                    content.held.append(Held(tag, flow, destination, reads, columns))
                return
        changed = bool(self._temps) and any(key_of(name) in self._temps for name in flow.reads)
        self._held.append(Held(tag, flow, destination, reads, columns, changed))

    def _through(
        self, reads: Sequence[Name], columns: Iterable[ColumnFlow]
    ) -> tuple[dict[Name, None], dict[ColumnFlow, None]]:
        """Replace temporary tables by what stands in them."""
        if not self._temps:
            return dict.fromkeys(reads), dict.fromkeys(columns)
        for name in reads:
            content = self._temps.get(key_of(name))
            if content is not None:
                content.held.clear()
        return _replaced(reads, columns, self._temps)

    def _create(self, name: Name, columns: Sequence[str] | None, *, temporary: bool) -> None:
        key = key_of(name)
        listed = None if columns is None or STAR in columns else columns
        self._columns[key] = (name, listed)
        if temporary:
            self._temps[key] = Content()
        else:
            self._temps.pop(key, None)
            self._made.add(key)

    def _drop(self, name: Name) -> None:
        key = key_of(name)
        self._columns.pop(key, None)
        if self._temps.pop(key, None) is not None or key not in self._made:
            return
        self._made.discard(key)
        content = Content()
        for held in self._held:
            if held.destination is not None and key_of(held.destination) == key and not held.flow.shape:
                content.add(held.reads, held.columns)
        self._held = [h for h in self._held if h.destination is None or key_of(h.destination) != key]
        for held in self._held:
            if any(key_of(r) == key for r in held.reads):
                held.changed = True
                held.reads, held.columns = _replaced(held.reads, held.columns, {key: content})

    def _rename(self, names: dict[Key, Name]) -> None:
        made = {key for key in names if key in self._made}
        for held in self._held:
            if held.destination is not None:
                held.changed |= key_of(held.destination) in names
                held.destination = names.get(key_of(held.destination), held.destination)
            if made:
                # What was read under a name that existed before keeps that name.
                own = {key: names[key] for key in made}
                held.changed |= any(key_of(r) in own for r in held.reads)
                held.reads = {own.get(key_of(r), r): None for r in held.reads}
                held.columns = {((own.get(key_of(t), t), c), d): None for (t, c), d in held.columns}
        temps = {key_of(new): self._temps.pop(old) for old, new in names.items() if old in self._temps}
        columns = {key_of(new): self._columns.pop(old)[1] for old, new in names.items() if old in self._columns}
        self._temps |= temps
        self._columns |= {key_of(new): (new, columns[key_of(new)]) for new in names.values() if key_of(new) in columns}
        self._made = {k for k in self._made if k not in names} | {key_of(new) for new in names.values()}


def _replaced(
    reads: Iterable[Name], columns: Iterable[ColumnFlow], contents: dict[Key, Content]
) -> tuple[dict[Name, None], dict[ColumnFlow, None]]:
    new_reads: dict[Name, None] = {}
    for name in reads:
        content = contents.get(key_of(name))
        new_reads.update({name: None} if content is None else content.reads)
    new_columns: dict[ColumnFlow, None] = {}
    for (table, column), target in columns:
        content = contents.get(key_of(table))
        if content is None:
            new_columns[(table, column), target] = None
        else:
            new_columns.update(dict.fromkeys(content.sources(column, target)))
    return new_reads, new_columns
