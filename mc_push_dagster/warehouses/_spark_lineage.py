"""Edges from Spark's plans: of logged statements, and of views."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mc_push_dagster.model import (
    AssetType,
    ColumnEdge,
    Evidence,
    EvidenceKind,
    Gap,
    LineageEdge,
    QueryRecord,
    Scope,
    TableRef,
)
from mc_push_dagster.warehouses import _spark_plans as plans
from mc_push_dagster.warehouses._spark_names import Names
from mc_push_dagster.warehouses._spark_plans import Flow, Name
from mc_push_dagster.warehouses._spark_plantree import PlanError
from mc_push_dagster.warehouses._thrift import Session, StatementError

_WRITE = re.compile(
    r"\s*(?:/\*.*?\*/\s*|--[^\n]*\n\s*)*(?:INSERT|CREATE|REPLACE|MERGE|UPDATE|WITH|FROM)\b", re.I | re.S
)
_FIELDS = "SET spark.sql.debug.maxToStringFields=100000"
"""Without it a plan names only 25 columns of a table (Spark's default)."""

Edge = LineageEdge | ColumnEdge


class PlanReader:
    """Makes edges of plans; tables outside of the scope are no destination."""

    def __init__(self, names: Names, scope: Scope) -> None:
        self._names = names
        self._scope = scope

    def of_statement(self, plan: str, record: QueryRecord) -> Iterator[Edge] | None:
        """The edges of a logged statement's plan; None if the plan cannot be read."""
        try:
            flows = plans.flows(plan)
        except PlanError:
            return None
        evidence = Evidence(
            kind=EvidenceKind.PLAN,
            reference=record.query_id,
            first_seen=record.ended_at,
            last_seen=record.ended_at,
        )
        return (edge for flow in flows for edge in self._edges(flow, evidence))

    def may_write(self, sql: str) -> bool:
        """Whether the statement may fill a table: worth an EXPLAIN."""
        return _WRITE.match(sql) is not None

    def prepare(self, session: Session) -> None:
        """Make the session's plans complete; a server that forbids SET gives shorter ones, which are left alone."""
        try:
            session.run(_FIELDS)
        except StatementError:
            return

    def explained(self, session: Session, record: QueryRecord, namespace: str | None) -> Iterator[Edge]:
        """The edges of a logged statement by EXPLAIN EXTENDED, which executes nothing.

        A statement that the server cannot resolve any more (its tables are gone) has none here: the SQL parser may try.
        """
        try:
            if namespace is not None:
                session.run(f"USE {'.'.join(_quoted(namespace))}")
            plan = _explain(session, record.text)
        except StatementError:
            return
        yield from self.of_statement(plan, record) or ()

    def of_view(self, session: Session, ref: TableRef, name: Name, qualified: str) -> Iterator[Edge | Gap]:
        """The edges into a view; `qualified` is its quoted name."""
        try:
            flow = plans.view_flow(_explain(session, f"SELECT * FROM {qualified}"), name)  # noqa: S608 - quoted
        except StatementError as error:
            yield Gap(subject=str(ref), reason=f"its plan cannot be made: {error}", ref=ref)
        except PlanError:
            reason = "Spark cannot resolve it, or its plan has a form that we do not read; its text is parsed instead"
            yield Gap(subject=str(ref), reason=reason, ref=ref)
        else:
            yield from self._edges(flow, Evidence(kind=EvidenceKind.PLAN, reference=str(ref)))

    def _edges(self, flow: Flow, evidence: Evidence) -> Iterator[Edge]:
        target = self._names.of_parts(list(flow.target))
        if target is None or not self._scope.covers(target):
            return
        kind = _kind(flow.is_view)
        for source in sorted(flow.tables):
            ref = self._names.of_parts(list(source))
            if ref is not None:
                yield LineageEdge(
                    source=ref,
                    destination=target,
                    source_type=_kind(source in flow.views),
                    destination_type=kind,
                    evidence=evidence,
                )
        for column, sources in flow.columns or ():
            for source, source_column in sorted(sources):
                ref = self._names.of_parts(list(source))
                if ref is not None:
                    yield ColumnEdge(
                        source=ref,
                        source_column=source_column,
                        destination=target,
                        destination_column=column,
                        source_type=_kind(source in flow.views),
                        destination_type=kind,
                        evidence=evidence,
                    )


def _explain(session: Session, sql: str) -> str:
    return "\n".join(str(row[0]) for row in session.rows(f"EXPLAIN EXTENDED {sql}"))


def _kind(is_view: bool) -> AssetType:
    return AssetType.VIEW if is_view else AssetType.TABLE


def _quoted(namespace: str) -> list[str]:
    return ["`" + part.replace("`", "``") + "`" for part in namespace.split(".")]
