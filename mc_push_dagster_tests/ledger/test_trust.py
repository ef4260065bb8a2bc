"""Which edges are believed, and in which resource their sources live, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mc_push_dagster.ledger import Due, Ledger
from mc_push_dagster.model import ColumnEdge, Evidence, EvidenceKind, LineageEdge, TableRef, Target

UUID = "11111111-2222-4333-8444-555555555555"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CRM = Target(resource_uuid="99999999-2222-4333-8444-555555555555", resource_type="postgres", log_type="")
NATIVE = Evidence(kind=EvidenceKind.NATIVE)
TEXT = Evidence(kind=EvidenceKind.QUERY, confidence=0.9, last_seen=NOW)


def ref(name: str, database: str = "shop") -> TableRef:
    return TableRef(database=database, schema="main", name=name)


def edge(source: str, destination: str, evidence: Evidence, home: Target | None = None) -> LineageEdge:
    database = "crm" if source == "deals" else "shop"
    return LineageEdge(
        source=ref(source, database), destination=ref(destination), evidence=evidence, source_target=home
    )


def column_edge(source: str, destination: str, evidence: Evidence) -> ColumnEdge:
    return ColumnEdge(
        source=ref(source), source_column="c", destination=ref(destination), destination_column="c", evidence=evidence
    )


def due(*, columns: bool) -> Due:
    lately = NOW - timedelta(days=30)
    return Due(
        columns=columns,
        pushed_before=NOW,
        alive_since=lately,
        views_since=lately,
        minimum_confidence=0.8,
        unconfirmed=0.85,
    )


def test_native_lineage_weighs_on_what_it_does_not_have(ledger: Ledger) -> None:
    ledger.record_edges(
        UUID,
        [
            edge("a", "m", NATIVE), edge("b", "m", TEXT), edge("b", "other", TEXT),
            column_edge("a", "m", TEXT), column_edge("b", "m", TEXT), column_edge("b", "other", TEXT),
        ],
        seen_at=NOW,
    )  # fmt: skip
    for columns in (False, True):
        found = {(r.edge.source.name, r.edge.destination.name) for r in ledger.due_edges(UUID, due(columns=columns))}
        assert found == {("a", "m"), ("b", "other")}
        assert ledger.count_doubted(UUID, due(columns=columns)) == 1


def test_a_source_is_in_the_resource_that_was_declared_last(ledger: Ledger) -> None:
    ledger.record_edges(UUID, [edge("deals", "m", TEXT), edge("a", "m", TEXT)], seen_at=NOW)
    ledger.record_edges(UUID, [edge("deals", "m", TEXT, CRM)], seen_at=NOW)
    ledger.settle_homes(UUID, lambda database: CRM if database == "crm" else None)
    assert {r.edge.source_target for r in ledger.edges(UUID, source=ref("a"))} == {None}
    assert {r.edge.source_target for r in ledger.edges(UUID)} == {None, CRM}
    ledger.settle_homes(UUID, lambda database: None)
    assert {r.edge.source_target for r in ledger.edges(UUID)} == {None, CRM}, "nothing says that it is wrong"
    ledger.record_edges(UUID, [edge("deals", "m", TEXT)], seen_at=NOW)
    ledger.settle_homes(UUID, lambda database: None)
    assert {r.edge.source_target for r in ledger.edges(UUID)} == {None}
