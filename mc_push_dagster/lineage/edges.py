"""Statements to edges: the whole way, for a log of any length."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from mc_push_dagster.lineage.analysis import Analysis, Analyzer
from mc_push_dagster.lineage.budget import Budget
from mc_push_dagster.lineage.catalog import Catalog
from mc_push_dagster.lineage.confidence import Judge
from mc_push_dagster.lineage.lookup import CatalogLookup
from mc_push_dagster.lineage.memo import Memo
from mc_push_dagster.lineage.names import Name
from mc_push_dagster.lineage.opinion import SecondOpinion
from mc_push_dagster.lineage.order import in_order
from mc_push_dagster.lineage.session import Session
from mc_push_dagster.lineage.sightings import Sightings
from mc_push_dagster.lineage.statement import Skipped, Statement
from mc_push_dagster.lineage.steps import Flow, Use
from mc_push_dagster.lineage.workers import analysed
from mc_push_dagster.model import ColumnEdge, LineageEdge

_SESSIONS = 2_000
_HELD = 200_000


def derive(
    statements: Iterable[Statement],
    *,
    dialect: str,
    catalog: Catalog,
    workers: int = 1,
    budget: Budget | None = None,
    opinion: SecondOpinion | None = None,
) -> Iterator[LineageEdge | ColumnEdge | Skipped]:
    """Yield the edges of the statements, lazily; what cannot be used is yielded as `Skipped`, nothing is raised for it.

    Statements of one session are held until their session, or the input, ends: a rename at the end decides where the
    first insert went. Memory is bounded: 10,000 statements for sorting by time, 2,000 sessions, 200,000 flows.
    With `workers` above 1 the catalog is pickled to each of them; where it cannot be, this process works alone.
    An edge comes when it is first seen, and again at the end if it was seen later: merge them in a `Graph`.
    """
    budget = budget or Budget()
    run = _Run(dialect, catalog, budget, opinion)
    ordered = run.with_defaults(in_order(statements))
    for statement, analysis in analysed(
        ordered, dialect=dialect, lookup=run.lookup, memo=run.memo, budget=budget, workers=workers
    ):
        yield from run.take(statement, analysis)
    yield from run.end()


class _Run:
    """The state of one derivation."""

    def __init__(self, dialect: str, catalog: Catalog, budget: Budget, opinion: SecondOpinion | None) -> None:
        self.lookup = CatalogLookup(catalog)
        self.memo = Memo(Analyzer(dialect, self.lookup, budget=budget))
        self._sightings = Sightings(Judge(catalog, opinion))
        self._sessions: OrderedDict[str, Session[Statement]] = OrderedDict()
        self._uses: OrderedDict[str, Use] = OrderedDict()
        self._held = 0

    def with_defaults(self, statements: Iterable[Statement]) -> Iterator[Statement]:
        """Give a statement whose log has no defaults those that its session's last USE set."""
        for statement in statements:
            session = statement.session_id
            if session is not None and (statement.database is None or statement.schema is None):
                use = self._uses.get(session)
                if use is not None:
                    statement = replace(
                        statement,
                        database=statement.database or use.database,
                        schema=statement.schema or use.schema,
                    )
                self._note_use(session, statement)
            yield statement

    def _note_use(self, session: str, statement: Statement) -> None:
        if statement.sql.lstrip()[:4].upper() not in ("USE ", "USE\n", "USE\t"):
            return
        for step in self.memo.analyze(statement.sql, database=statement.database, schema=statement.schema).steps:
            if isinstance(step, Use):
                before = self._uses.pop(session, Use())
                self._uses[session] = Use(
                    database=step.database or before.database,
                    # Another database has other schemas.
                    schema=step.schema if step.database else step.schema or before.schema,
                )
        while len(self._uses) > _SESSIONS:
            self._uses.popitem(last=False)

    def take(self, statement: Statement, analysis: Analysis) -> Iterator[LineageEdge | ColumnEdge | Skipped]:
        session = self._session(statement)
        if session.known_columns and any(isinstance(s, Flow) and session.concerns(s) for s in analysis.steps):
            analysis = self._again(statement, analysis, session)
        for reason in dict.fromkeys(analysis.skipped):
            yield Skipped(reason=reason, query_id=statement.query_id)
        self._held -= len(session)
        for step in analysis.steps:
            session.feed(step, statement)
        self._held += len(session)
        if statement.session_id is None:
            yield from self._finish(session)
        while len(self._sessions) > _SESSIONS or self._held > _HELD:
            if not self._sessions:
                break
            _, oldest = self._sessions.popitem(last=False)
            yield from self._finish(oldest)

    def _session(self, statement: Statement) -> Session[Statement]:
        if statement.session_id is None:
            return Session()
        session = self._sessions.get(statement.session_id)
        if session is None:
            session = self._sessions[statement.session_id] = Session()
        self._sessions.move_to_end(statement.session_id)
        return session

    def _again(self, statement: Statement, analysis: Analysis, session: Session[Statement]) -> Analysis:
        """Analyse again, now that the columns of the session's own tables are known."""
        touched: set[Name] = set()
        for step in analysis.steps:
            if isinstance(step, Flow):
                touched.update((*step.reads, *((step.destination,) if step.destination is not None else ())))
        return self.memo.analyze(
            statement.sql,
            database=statement.database,
            schema=statement.schema,
            view=statement.view.parts if statement.view is not None else None,
            known=session.made(touched),
        )

    def end(self) -> Iterator[LineageEdge | ColumnEdge | Skipped]:
        while self._sessions:
            _, session = self._sessions.popitem(last=False)
            yield from self._finish(session)
        yield from self._sightings.rest()

    def _finish(self, session: Session[Statement]) -> Iterator[LineageEdge | ColumnEdge | Skipped]:
        self._held -= len(session)
        for held in session.finish():
            yield from self._sightings.see(held)
