"""What a query reads from: relations, their columns, and the columns of real tables that they take values from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mc_push_dagster.lineage.names import Name

Source = tuple[Name, str]
"""A column of a real table. The column `*` stands for columns that nobody listed."""
Sources = frozenset[Source]

NOTHING: Sources = frozenset()
STAR = "*"


class Output:
    """One column that a relation gives; `name` is `*` where a star could not be expanded."""

    __slots__ = ("name", "named", "sources")

    def __init__(self, name: str, sources: Sources, *, named: bool = True) -> None:
        self.name = name
        self.sources = sources
        self.named = named
        """False if the warehouse makes up the name."""

    def __repr__(self) -> str:
        return f"{self.name}<-{sorted(self.sources)}"


class Relation:
    """Something with columns. `closed` means that all of them are known."""

    __slots__ = ()
    closed: bool

    def known(self, name: str) -> Sources | None:
        """Where a column that is surely there takes its values from; None if that is not known."""
        raise NotImplementedError

    def column(self, name: str) -> Sources | None:
        """The same, for a column that may be there because an unexpanded star may give it."""
        return self.known(name)

    def guess(self, name: str) -> Sources | None:
        """The same, for a column that must be there although nothing lists it (a schema that is out of date)."""
        return self.column(name)

    def outputs(self) -> Sequence[Output]:
        """The columns in order; an unexpanded star stands as an output named `*`."""
        raise NotImplementedError


class Table(Relation):
    """A real table, with or without known columns."""

    __slots__ = ("_index", "_outputs", "closed", "name")

    def __init__(self, name: Name, columns: Iterable[str] | None) -> None:
        self.name = name
        self.closed = columns is not None
        self._outputs = [Output(c, frozenset(((name, c),))) for c in columns or ()]
        self._index: dict[str, Output] = {}
        for output in self._outputs:
            self._index[output.name] = output
            self._index.setdefault(output.name.lower(), output)
        if not self.closed:
            self._outputs.append(Output(STAR, frozenset(((name, STAR),))))

    def known(self, name: str) -> Sources | None:
        found = self._index.get(name) or self._index.get(name.lower())
        return None if found is None else found.sources

    def column(self, name: str) -> Sources | None:
        return self.known(name) if self.closed else frozenset(((self.name, name),))

    def guess(self, name: str) -> Sources | None:
        return self.known(name) or frozenset(((self.name, name),))

    def outputs(self) -> Sequence[Output]:
        return self._outputs


class Derived(Relation):
    """The result of a query: named outputs, and the relations whose stars could not be expanded."""

    __slots__ = ("_index", "_outputs", "closed", "opens")

    def __init__(self, outputs: Sequence[Output], opens: Sequence[Relation] = ()) -> None:
        self._outputs = outputs
        self._index: dict[str, Output] = {}
        for output in outputs:
            if output.name != STAR:
                self._index.setdefault(output.name, output)
                self._index.setdefault(output.name.lower(), output)
        self.opens = opens
        self.closed = not opens

    def known(self, name: str) -> Sources | None:
        found = self._index.get(name) or self._index.get(name.lower())
        return None if found is None else found.sources

    def column(self, name: str) -> Sources | None:
        found = self.known(name)
        if found is not None or self.closed:
            return found
        through = [sources for relation in self.opens if (sources := relation.column(name)) is not None]
        return through[0] if len(through) == 1 else None

    def outputs(self) -> Sequence[Output]:
        return self._outputs


class Masked(Relation):
    """A relation without some of its columns, as `* EXCEPT (a)` leaves it; `masks` are in lower case."""

    __slots__ = ("_masks", "_relation", "closed")

    def __init__(self, relation: Relation, masks: frozenset[str]) -> None:
        self._relation = relation
        self._masks = masks
        self.closed = relation.closed

    def known(self, name: str) -> Sources | None:
        return None if name.lower() in self._masks else self._relation.known(name)

    def column(self, name: str) -> Sources | None:
        return None if name.lower() in self._masks else self._relation.column(name)

    def guess(self, name: str) -> Sources | None:
        return None if name.lower() in self._masks else self._relation.guess(name)

    def outputs(self) -> Sequence[Output]:
        return [o for o in self._relation.outputs() if o.name.lower() not in self._masks]


class Spread(Relation):
    """An unnested value: whatever is read from it comes from the same columns."""

    __slots__ = ("_outputs", "closed", "sources")

    def __init__(self, sources: Sources, names: Sequence[str] = ()) -> None:
        self.sources = sources
        self._outputs = [Output(n, sources) for n in names]
        self.closed = True

    def known(self, name: str) -> Sources | None:
        key = name.lower()
        return self.sources if any(o.name.lower() == key for o in self._outputs) else None

    def guess(self, name: str) -> Sources | None:
        # A row of structs has more columns than anybody listed.
        return self.sources

    def outputs(self) -> Sequence[Output]:
        return self._outputs


class Fields(Spread):
    """The fields of a struct that a star spreads out; nobody lists their names."""

    __slots__ = ()

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        self._outputs = [Output(STAR, sources)]
        self.closed = False

    def known(self, name: str) -> Sources | None:
        return None

    def column(self, name: str) -> Sources | None:
        return self.sources


class Common(Relation):
    """A common table expression, with what it read; that counts only if something reads the expression."""

    __slots__ = ("indirect", "reads", "relation")

    def __init__(self, relation: Relation, reads: dict[Name, bool], indirect: set[Source]) -> None:
        self.relation = relation
        self.reads = reads
        self.indirect = indirect


class United(Relation):
    """The result of a set operation: columns by position, or by name where a star hides the positions."""

    __slots__ = ("_branches", "_index", "_outputs", "closed")

    def __init__(self, branches: Sequence[Relation], *, by_name: bool = False) -> None:
        self._branches = branches
        self.closed = all(b.closed for b in branches)
        lists = [b.outputs() for b in branches]
        positional = not by_name and (_same_stars(lists) or (self.closed and len({len(o) for o in lists}) == 1))
        self._outputs = _by_position(lists) if positional else self._through_stars(_by_name(lists))
        self._index: dict[str, Output] = {}
        for output in self._outputs:
            self._index.setdefault(output.name.lower(), output)

    def known(self, name: str) -> Sources | None:
        found = self._index.get(name.lower())
        return None if found is None or name == STAR else found.sources

    def column(self, name: str) -> Sources | None:
        found = self.known(name)
        if found is not None or self.closed:
            return found
        through = [sources for branch in self._branches if (sources := branch.column(name)) is not None]
        return frozenset().union(*through) if through else None

    def _through_stars(self, outputs: Sequence[Output]) -> list[Output]:
        """Add what a branch gives that has the column only behind a star."""
        opens = [b for b in self._branches if not b.closed]
        result: list[Output] = []
        for output in outputs:
            hidden = () if output.name == STAR else tuple(b.column(output.name) or NOTHING for b in opens)
            result.append(Output(output.name, output.sources.union(*hidden), named=output.named))
        return result

    def outputs(self) -> Sequence[Output]:
        return self._outputs


def renamed(relation: Relation, columns: Sequence[str]) -> Relation:
    """Return the relation with its first columns renamed, as `AS t(a, b)` does."""
    outputs = list(relation.outputs())
    if isinstance(relation, Spread):
        return Spread(relation.sources, columns)
    if any(o.name == STAR for o in outputs[: len(columns)]):
        # Which column the new name stands for cannot be told.
        return Derived([Output(c, NOTHING) for c in columns], [relation])
    head = [Output(c, o.sources) for c, o in zip(columns, outputs, strict=False)]
    missing = [Output(c, NOTHING) for c in columns[len(head) :]]
    return Derived([*head, *missing, *outputs[len(head) :]], [] if relation.closed else [relation])


def _same_stars(lists: Sequence[Sequence[Output]]) -> bool:
    """True if stars stand in the same places of lists of the same length."""
    return len({tuple(o.name == STAR for o in outputs) for outputs in lists}) == 1


def _by_position(lists: Sequence[Sequence[Output]]) -> list[Output]:
    return [
        Output(column[0].name, frozenset().union(*(o.sources for o in column)), named=column[0].named)
        for column in zip(*lists, strict=True)
    ]


def _by_name(lists: Sequence[Sequence[Output]]) -> list[Output]:
    merged: dict[str, Output] = {}
    for outputs in lists:
        for output in outputs:
            key = output.name.lower()
            before = merged.get(key)
            sources = output.sources if before is None else before.sources | output.sources
            merged[key] = Output(output.name if before is None else before.name, sources, named=output.named)
    return list(merged.values())
