"""Cases as JSON: SQL with its schemas in, lineage out; what `mc-push lineage --jsonl` reads and writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mc_push_dagster.lineage.analysis import Analyzer
from mc_push_dagster.lineage.budget import Budget
from mc_push_dagster.lineage.lookup import SchemaLookup
from mc_push_dagster.lineage.names import Name, dotted
from mc_push_dagster.lineage.session import Held, Session
from mc_push_dagster.lineage.steps import Use

EMPTY: dict[str, Any] = {"tables": [], "inputs": [], "outputs": [], "columns": [], "confidence": 0.0, "error": None}


def answer(case: Mapping[str, Any], *, budget: Budget | None = None) -> dict[str, Any]:
    """The lineage of one case; what is wrong with it stands in `error`.

    Keys in: `id`, `sql` (text or a list of texts that share a session), `dialect`, `schemas` (dotted name -> columns),
    `default_db`, `default_schema`. Keys out: `id`, `tables`, `inputs`, `outputs`, `columns`, `confidence`, `error`.
    """
    problem = _problem(case)
    if problem is not None:
        return {"id": case.get("id"), **EMPTY, "error": problem}
    texts = [case["sql"]] if isinstance(case["sql"], str) else case["sql"]
    lookup = SchemaLookup(case.get("schemas") or {})
    session: Session[None] = Session()
    skipped: list[str] = []
    database, schema = case.get("default_db") or None, case.get("default_schema") or None
    analyzer = Analyzer(case.get("dialect"), lookup, budget=budget)
    for text in texts:
        found = analyzer.analyze(text, database=database, schema=schema, known=session.known_columns)
        skipped += found.skipped
        for step in found.steps:
            session.feed(step, None)
            if isinstance(step, Use):
                database, schema = step.database or database, step.schema or schema
    return {
        "id": case.get("id"),
        **_lineage([*session.finish(), *session.unread()]),
        "error": "; ".join(skipped) or None,
    }


def _problem(case: Mapping[str, Any]) -> str | None:
    sql, schemas = case.get("sql"), case.get("schemas")
    if not isinstance(sql, str) and not (isinstance(sql, list) and all(isinstance(s, str) for s in sql)):
        return "sql must be a string or a list of strings"
    if schemas is not None and not (
        isinstance(schemas, Mapping) and all(isinstance(c, (Mapping, list)) for c in schemas.values())
    ):
        return "schemas must map table names to columns"
    for key in ("dialect", "default_db", "default_schema"):
        if case.get(key) is not None and not isinstance(case[key], str):
            return f"{key} must be a string"
    return None


def _lineage(flows: Iterable[Held[None]]) -> dict[str, Any]:
    tables: dict[tuple[Name, Name], None] = {}
    columns: dict[tuple[str, str, str | None, str], None] = {}
    inputs: dict[str, None] = {}
    outputs: dict[str, None] = {}
    confidence: list[float] = []
    for held in flows:
        target = None if held.destination is None else dotted(held.destination)
        inputs.update(dict.fromkeys(map(dotted, held.reads)))
        if held.destination is not None and target is not None:
            outputs[target] = None
            tables.update({(read, held.destination): None for read in held.reads if read != held.destination})
        columns.update({(dotted(t), c, target, d): None for (t, c), d in held.columns})
        confidence.append(0.3 if held.flow.tables_only else 0.5 + held.flow.resolved / 2)
    return {
        "tables": [{"source": dotted(s), "destination": dotted(d)} for s, d in tables],
        "inputs": list(inputs),
        "outputs": list(outputs),
        "columns": [
            {"source_table": t, "source_column": c, "destination_table": d, "destination_column": n}
            for t, c, d, n in columns
        ],
        "confidence": round(min(confidence, default=0.0), 2),
    }


def answers(cases: Iterable[Mapping[str, Any]], *, budget: Budget | None = None) -> Iterator[dict[str, Any]]:
    """The lineage of each case, in order."""
    for case in cases:
        yield answer(case, budget=budget)
