"""Which output columns a source column really decides, found without any parser: change its values and run again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import duckdb

from mc_push_dagster.lineage.analysis import Analyzer
from mc_push_dagster.lineage.catalog import DictCatalog
from mc_push_dagster.lineage.lookup import CatalogLookup
from mc_push_dagster.lineage.names import Name
from mc_push_dagster.lineage.steps import Flow
from mc_push_dagster.model import TableRef

Column = tuple[Name, str]
Pair = tuple[Column, str]
"""A source column and an output column."""

_CONTROL = "same"
_ENOUGH = 3
CHANGES = ("shuffle", "copy", "blank", "new", "shuffle", "copy", "swap", "one", "copy", "shuffle")
"""In this order, each with a seed of its own. A permutation alone cannot be seen in an ungrouped sum, a maximum or a
count: `copy` overwrites some values with others of the column, `blank` with NULL, `new` with ones it never had,
`one` all with the same one, and `swap` permutes a tenth of the rows."""
_NEW = {
    "VARCHAR": "{} || '~'",
    "DATE": "{} + 1",
    "TIMESTAMP": "{} + INTERVAL 26 HOUR",
    "BOOLEAN": "NOT {}",
    "INTEGER": "{} + 1",
    "BIGINT": "{} + 1",
    "DOUBLE": "{} + 1",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a table holds: a digest of each column's values as a multiset, and of each pair of columns, row by row."""

    rows: int
    values: dict[str, int]
    pairs: dict[tuple[str, str], int]

    def differing(self, other: Outcome) -> set[str]:
        """Columns with other values, or with the same values on other rows.

        Rows are known by the columns that stand together as they did: the largest such group is taken to have stayed.
        Where no group is the largest, it cannot be told which columns moved, and none is said to.
        """
        found = {name for name, digest in self.values.items() if other.values.get(name) != digest}
        together = {name: {name} for name in self.values if name not in found}
        for (one, two), digest in self.pairs.items():
            if one in together and two in together and other.pairs.get((one, two)) == digest:
                together[one].add(two)
                together[two].add(one)
        most = max(map(len, together.values()), default=0)
        largest = [group for group in together.values() if len(group) == most]
        stayed = set().union(*largest) if largest else set()
        return found | (set(together) - stayed if len(stayed) == most > 1 else set())


@dataclass(slots=True)
class Verdict:
    """What one statement's experiments say about its column edges."""

    label: str
    confirmed: set[Pair] = field(default_factory=set)
    unconfirmed: set[Pair] = field(default_factory=set)
    """An edge, but no change of the source was ever seen in the output."""
    missed: set[Pair] = field(default_factory=set)
    """The output changed, and there is neither an edge nor an indirect influence."""
    rows: set[Pair] = field(default_factory=set)
    """As `missed`, but each time the number of rows changed, too, or all outputs: the source decides which rows there
    are, and our indirect evidence does not say so."""
    indirect: set[Pair] = field(default_factory=set)
    """The output changed, there is no edge, and the source is listed as a filter, a join key, a group or an order."""
    beyond: set[Column] = field(default_factory=set)
    """Columns of tables that the statement does not read by our account, but that changed its output."""
    untested: int = 0
    """Edges from columns that cannot be changed, or into outputs that a mere repetition of the statement changes."""
    runs: int = 0


def quoted(*parts: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


class Lab:
    """Tables of one in-memory database; every experiment is rolled back."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, database: str) -> None:
        self.connection = connection
        self.database = database
        connection.execute("SET threads = 1")

    def refs(self) -> dict[TableRef, dict[str, str]]:
        rows = self.connection.execute(
            "SELECT database_name, schema_name, table_name, column_name, data_type FROM duckdb_columns()"
            " WHERE database_name = ? AND NOT internal ORDER BY 1, 2, 3, column_index",
            [self.database],
        ).fetchall()
        found: dict[TableRef, dict[str, str]] = {}
        for _, schema, table, column, kind in rows:
            found.setdefault(TableRef(database=self.database, schema=schema, name=table), {})[column] = kind
        return found

    def flow(self, sql: str, schema: str) -> Flow | None:
        """What lineage says that a statement writes and reads; None if it writes nothing."""
        lookup = CatalogLookup(DictCatalog(self.refs()))
        steps = Analyzer("duckdb", lookup).analyze(sql, database=self.database, schema=schema).steps
        return next((s for s in steps if isinstance(s, Flow) and s.destination is not None), None)

    def try_out(self, label: str, sql: str, *, schema: str = "main", sources: Iterable[Name] | None = None) -> Verdict:
        """Change each column of each table the statement reads, and compare its output with its edges.

        The tables it reads are found by taking each away in turn; `sources` names them where that is known.
        """
        flow = self.flow(sql, schema)
        if flow is None or flow.destination is None:
            raise ValueError(f"{label}: no destination found")
        self.connection.execute(f"USE {quoted(self.database, schema)}")
        tables = list(sources) if sources is not None else self._read_by(sql, flow.destination)
        experiment = _Experiment(self.connection, sql, flow)
        verdict = Verdict(label)
        edges = {((_low(n), c.lower()), o.lower()) for (n, c), o in flow.columns if n != flow.destination}
        influences = {(_low(name), column.lower()) for name, column in flow.indirect}
        read = {_low(name) for name in flow.reads}
        outputs = experiment.outputs()
        for table in tables:
            for column in self._columns(table):
                source: Column = (table, column)
                expected = {o for o in outputs if any(o.lower() == e and _is_of(source, s) for s, e in edges)}
                verdict.runs += self._judge(verdict, experiment, source, expected)
                seen = {o for s, o in verdict.missed | verdict.rows if s == source}
                if _low(table) not in read and seen:
                    verdict.beyond.add(source)
                elif any(_is_of(source, influence) for influence in influences):
                    verdict.indirect |= {(source, o) for o in seen}
                    verdict.missed -= verdict.indirect
                    verdict.rows -= verdict.indirect
        return verdict

    @staticmethod
    def _judge(verdict: Verdict, experiment: _Experiment, source: Column, expected: set[str]) -> int:
        """Write down what changes of the source do; returns how often the statement was run."""
        found = experiment.changed(source, expected)
        if found is None:
            verdict.untested += len(expected)
            return experiment.runs
        testable = expected - experiment.restless
        verdict.untested += len(expected) - len(testable)
        verdict.confirmed |= {(source, o) for o in testable & found.all}
        verdict.unconfirmed |= {(source, o) for o in testable - found.all}
        verdict.missed |= {(source, o) for o in found.alone - expected}
        verdict.rows |= {(source, o) for o in found.all - found.alone - expected}
        return experiment.runs

    def _columns(self, table: Name) -> list[str]:
        return [row[0] for row in self.connection.execute(f"DESCRIBE {_relation(table)}").fetchall()]

    def _read_by(self, sql: str, destination: Name) -> list[Name]:
        """The tables without which the statement cannot run."""
        found: list[Name] = []
        for ref in self.refs():
            if _low(ref.parts) == _low(destination):
                continue
            self.connection.begin()
            try:
                _make_room(self.connection, sql, destination)
                self.connection.execute(f"DROP TABLE {_relation(ref.parts)}")
                self.connection.execute(sql)
            except (duckdb.CatalogException, duckdb.BinderException):
                found.append(ref.parts)
            finally:
                self.connection.rollback()
        return found


@dataclass(slots=True)
class Changed:
    """Outputs that changed."""

    all: set[str] = field(default_factory=set)
    alone: set[str] = field(default_factory=set)
    """Those that once changed while other outputs and the number of rows stayed."""


class _Experiment:
    """One statement, run again and again on changed sources."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, sql: str, flow: Flow) -> None:
        assert flow.destination is not None
        self._connection = connection
        self._sql = sql
        self._destination = flow.destination
        self.runs = 0
        self.restless: set[str] = set()
        self._base = self._run(None, "", 0)
        assert self._base is not None

    def outputs(self) -> list[str]:
        assert self._base is not None
        return list(self._base.values)

    def changed(self, source: Column, expected: set[str]) -> Changed | None:
        """What changes of the source changed; None if the source cannot be changed at all."""
        base = self._base
        assert base is not None
        self.runs = 0
        control = self._run(source, _CONTROL, 0)
        self.restless = set() if control is None else base.differing(control)
        found = Changed()
        testable = False
        for seed, kind in enumerate(CHANGES):
            outcome = self._run(source, kind, seed)
            if outcome is not None:
                testable = True
                names = base.differing(outcome)
                found.all |= names - self.restless
                if outcome.rows == base.rows and (len(names) < len(base.values) or len(base.values) == 1):
                    found.alone |= names - self.restless
            # A change that was missed by chance gets more chances; where all is seen, three kinds are enough.
            if seed >= _ENOUGH and expected <= found.all:
                break
        return found if testable else None

    def _run(self, source: Column | None, kind: str, seed: int) -> Outcome | None:
        """The output after a change of the source; None if that changes nothing or is not possible."""
        self.runs += 1
        connection = self._connection
        connection.begin()
        try:
            if source is not None and not _change(connection, source, kind, seed):
                return None
            _make_room(connection, self._sql, self._destination)
            connection.execute(self._sql)
            return self._outcome()
        except (duckdb.ConstraintException, duckdb.ConversionException, duckdb.OutOfRangeException):
            return None  # such values cannot be there
        finally:
            connection.rollback()

    def _outcome(self) -> Outcome:
        relation = _relation(self._destination)
        described = self._connection.execute(f"DESCRIBE {relation}").fetchall()
        # Sums of floating-point numbers depend on the order of the rows in their last digits.
        terms = {
            row[0]: f"round({quoted(row[0])}, 4)" if row[1] in ("DOUBLE", "FLOAT") else quoted(row[0])
            for row in described
        }
        pairs = list(combinations(terms, 2))
        sums = [f"sum(hash({terms[name]}))" for name in terms]
        sums += [f"sum(hash({terms[one]}, {terms[two]}))" for one, two in pairs]
        rows, *digests = self._connection.execute(f"SELECT count(*), {', '.join(sums)} FROM {relation}").fetchall()[0]
        return Outcome(
            rows=rows,
            values=dict(zip(terms, digests, strict=False)),
            pairs=dict(zip(pairs, digests[len(terms) :], strict=True)),
        )


def _low(name: Sequence[str]) -> Name:
    return tuple(part.lower() for part in name)


def _is_of(source: Column, named: Column) -> bool:
    """True if lineage names this column, or a field of it: fields of structs are named by their path."""
    table, column = _low(source[0]), source[1].lower()
    return table == named[0] and (column == named[1] or named[1].startswith(f"{column}."))


def _relation(table: Name) -> str:
    return quoted(*table)


def _make_room(connection: duckdb.DuckDBPyConnection, sql: str, destination: Name) -> None:
    """Take away what the statement creates, and half of what it merges into, so that there is something to insert."""
    kind = sql.lstrip()[:6].upper()
    if kind == "CREATE":
        connection.execute(f"DROP TABLE IF EXISTS {_relation(destination)}")
    elif kind.startswith("MERGE"):
        connection.execute(f"DELETE FROM {_relation(destination)} WHERE hash(rowid) % 2 = 0")


def _change(connection: duckdb.DuckDBPyConnection, source: Column, kind: str, seed: int) -> bool:
    """Change a column's values; False if every row has kept its value."""
    table, name = source
    relation, column = _relation(table), quoted(name)
    if kind == _CONTROL:
        connection.execute(f"UPDATE {relation} SET {column} = {column}")
        return True
    digest = f"SELECT sum(hash(rowid, {column})) FROM {relation}"
    before = connection.execute(digest).fetchall()
    if kind == "blank":
        connection.execute(f"UPDATE {relation} SET {column} = NULL WHERE hash(rowid, {seed}) % 5 = 0")
    elif kind == "new":
        types = {row[0]: row[1].partition("(")[0] for row in connection.execute(f"DESCRIBE {relation}").fetchall()}
        expression = _NEW.get(types[name], "{}").format(column)
        connection.execute(f"UPDATE {relation} SET {column} = {expression} WHERE hash(rowid, {seed}) % 3 = 0")
    elif kind == "one":
        value = f"SELECT {column} FROM {relation} ORDER BY hash(rowid, {seed}) LIMIT 1"
        connection.execute(f"UPDATE {relation} SET {column} = ({value})")
    else:
        # A permutation: row number by place -> row number by chance, over all rows or a tenth of them.
        chosen = f"FROM {relation} WHERE hash(rowid, {seed} + 1000) % 10 = 0" if kind == "swap" else f"FROM {relation}"
        part = f"AND hash(place.r, {seed} + 2000) % 10 < 3" if kind == "copy" else ""
        connection.execute(
            f"""UPDATE {relation} AS t SET {column} = chance.v
                FROM (SELECT rowid AS r, row_number() OVER (ORDER BY rowid) AS n {chosen}) AS place
                JOIN (SELECT {column} AS v, row_number() OVER (ORDER BY hash(rowid, {seed})) AS n {chosen}) AS chance
                USING (n) WHERE t.rowid = place.r {part}"""
        )
    return connection.execute(digest).fetchall() != before
