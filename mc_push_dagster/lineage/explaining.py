"""Where an edge comes from: the edges of a statement with the places in its text that name their ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlglot import TokenType
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError

from mc_push_dagster.lineage.cases import answer
from mc_push_dagster.lineage.names import rules_of
from mc_push_dagster.model import ColumnEdge, EvidenceKind, LineageEdge

_NAMES = (TokenType.VAR, TokenType.IDENTIFIER)
_LONG = 24
RESULT = "(result)"
"""What a query flows into that writes no table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One edge as people read it; the column names are None for an edge between tables."""

    source: str
    destination: str
    source_column: str | None = None
    destination_column: str | None = None
    confidence: float
    evidence: str = ""

    @property
    def name(self) -> str:
        """The source: a table, or a column with its table."""
        return _joined(self.source, self.source_column)


def of_text(sql: str, *, dialect: str, **context: Any) -> tuple[list[Line], str | None]:
    """The edges of a text by themselves, and what went wrong; `context` as the keys of a case (see `cases`)."""
    found = answer({"sql": sql, "dialect": dialect, **context})
    confidence = found["confidence"]
    lines = [Line(source=t["source"], destination=t["destination"], confidence=confidence) for t in found["tables"]]
    lines += [
        Line(
            source=c["source_table"],
            source_column=c["source_column"],
            destination=c["destination_table"] or RESULT,
            destination_column=c["destination_column"],
            confidence=confidence,
        )
        for c in found["columns"]
    ]
    return lines, found["error"]


def groups(lines: Iterable[Line]) -> tuple[str, list[tuple[str, list[Line]]]]:
    """Lines by what they flow into, tables before columns, and the database that all names share.

    That database is left out of the names; it is empty where names have fewer than three parts or differ in it.
    """
    lines = list(lines)
    ends = [name.split(".") for line in lines for name in (line.source, line.destination) if name != RESULT]
    databases = {parts[0] if len(parts) > 2 else "" for parts in ends}
    database = databases.pop() if len(databases) == 1 else ""
    found: dict[str, list[Line]] = {}
    for line in sorted(lines, key=lambda line: line.destination_column is not None):
        short = replace(line, source=_without(line.source, database), destination=_without(line.destination, database))
        found.setdefault(_joined(short.destination, short.destination_column), []).append(short)
    return database, list(found.items())


def _without(name: str, database: str) -> str:
    return name.removeprefix(f"{database}.") if database else name


def _joined(table: str, column: str | None) -> str:
    return f"{table}.{column}" if column else table


def of_edges(edges: Iterable[LineageEdge | ColumnEdge]) -> list[Line]:
    """Edges of a warehouse, as lines."""
    return [
        Line(
            source=str(edge.source),
            destination=str(edge.destination),
            source_column=edge.source_column if isinstance(edge, ColumnEdge) else None,
            destination_column=edge.destination_column if isinstance(edge, ColumnEdge) else None,
            confidence=edge.evidence.confidence,
            evidence=_evidence(edge),
        )
        for edge in edges
    ]


def _evidence(edge: LineageEdge | ColumnEdge) -> str:
    if edge.evidence.kind is EvidenceKind.VIEW:
        return "its own text"
    reference = edge.evidence.reference or ""
    if len(reference) > _LONG:
        # Ids of one hour begin alike: both ends are needed to tell them apart.
        reference = f"{reference[:8]}...{reference[-8:]}"
    return f"{edge.evidence.kind} {reference}".strip()


def marks(sql: str, dialect: str, lines: Iterable[Line]) -> Iterator[tuple[int, int, str]]:
    """Places in `sql` that name an end of one of the edges: (start, end, "source" or "destination")."""
    roles: dict[str, str] = {}
    for line in lines:
        roles.setdefault(line.source.rpartition(".")[2].lower(), "source")
        roles.setdefault((line.source_column or "").lower(), "source")
    for line in lines:
        roles[line.destination.rpartition(".")[2].lower()] = "destination"
    try:
        tokens = Dialect.get_or_raise(rules_of(dialect).sqlglot or None).tokenize(sql)
    except SqlglotError:
        return
    for token in tokens:
        if token.token_type in _NAMES:
            role = _role(roles, token.text)
            if role is not None:
                yield token.start, token.end + 1, role


def _role(roles: Mapping[str, str], text: str) -> str | None:
    # BigQuery puts a whole name in one pair of backquotes.
    return roles.get(text.lower()) or roles.get(text.rpartition(".")[2].lower())
