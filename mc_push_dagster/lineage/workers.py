"""Analyses by several processes; sessions stay with the caller, because they are about order."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context

from mc_push_dagster.lineage.analysis import Analysis, Analyzer
from mc_push_dagster.lineage.budget import Budget
from mc_push_dagster.lineage.lookup import Lookup
from mc_push_dagster.lineage.memo import Memo
from mc_push_dagster.lineage.names import Name
from mc_push_dagster.lineage.statement import Statement

_CHUNK = 200


@dataclass(frozen=True, slots=True)
class Task:
    """What an analysis depends on."""

    text: str
    database: str | None
    schema: str | None
    view: Name | None


def task_of(statement: Statement) -> Task:
    """What the analysis of a statement depends on."""
    view = statement.view.parts if statement.view is not None else None
    return Task(statement.sql, statement.database, statement.schema, view)


def run(memo: Memo, task: Task) -> Analysis:
    """Analyse one task."""
    return memo.analyze(task.text, database=task.database, schema=task.schema, view=task.view)


_memo: Memo | None = None


def _begin(dialect: str, lookup: Lookup, budget: Budget) -> None:
    global _memo
    _memo = Memo(Analyzer(dialect, lookup, budget=budget))


def _chunk(tasks: list[Task]) -> list[Analysis]:
    assert _memo is not None
    return [run(_memo, task) for task in tasks]


def _can_travel(lookup: Lookup) -> bool:
    """False for a catalog that lives in this process (an open database): then this process does the work alone."""
    try:
        pickle.dumps(lookup)
    except (pickle.PicklingError, TypeError, AttributeError):
        return False
    return True


def analysed(
    statements: Iterable[Statement], *, dialect: str, lookup: Lookup, memo: Memo, budget: Budget, workers: int
) -> Iterator[tuple[Statement, Analysis]]:
    """Each statement with its analysis, in order; at most a few hundred statements a worker are held at once."""
    if workers <= 1 or not _can_travel(lookup):
        for statement in statements:
            yield statement, run(memo, task_of(statement))
        return
    # fork would copy locks that other threads hold (Dagster has many); spawn works everywhere.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(dialect, lookup, budget)
    ) as pool:
        waiting: deque[_Waiting] = deque()
        source = iter(statements)
        while True:
            while len(waiting) < 2 * workers:
                chunk = list(islice(source, _CHUNK))
                if not chunk:
                    break
                waiting.append(_Waiting.of(chunk, memo, pool))
            if not waiting:
                return
            yield from waiting.popleft().done(memo)


@dataclass(slots=True)
class _Waiting:
    """A chunk of statements: what is known of them already, and who works on the others."""

    chunk: list[Statement]
    known: list[Analysis | None]
    future: Future[list[Analysis]] | None

    @classmethod
    def of(cls, chunk: list[Statement], memo: Memo, pool: ProcessPoolExecutor) -> _Waiting:
        tasks = [task_of(statement) for statement in chunk]
        known = [memo.recall(t.text, database=t.database, schema=t.schema, view=t.view) for t in tasks]
        unknown = [task for task, found in zip(tasks, known, strict=True) if found is None]
        return cls(chunk, known, pool.submit(_chunk, unknown) if unknown else None)

    def done(self, memo: Memo) -> Iterator[tuple[Statement, Analysis]]:
        found = iter(self.future.result() if self.future is not None else ())
        for statement, known in zip(self.chunk, self.known, strict=True):
            analysis = known
            if analysis is None:
                analysis = next(found)
                task = task_of(statement)
                memo.keep(task.text, analysis, database=task.database, schema=task.schema, view=task.view)
            yield statement, analysis
