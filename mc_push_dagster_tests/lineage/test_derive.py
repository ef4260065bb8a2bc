"""From a log to edges with evidence."""

from __future__ import annotations

from dataclasses import replace
from itertools import count, islice
from typing import Any

import pytest

from mc_push_dagster.lineage import DictCatalog, Graph, Skipped, Statement, across, derive
from mc_push_dagster.lineage.confidence import AGREED, DISPUTED, PARSED, SCANNED, UNKNOWN_COLUMN, UNKNOWN_TABLE
from mc_push_dagster.lineage.order import in_order
from mc_push_dagster.model import AssetType, ColumnEdge, Evidence, EvidenceKind, LineageEdge, Target
from mc_push_dagster_tests.lineage.harness import NOON, ref, run, statements

CATALOG = DictCatalog({ref("SRC"): {"ID": "int", "NAME": "text"}, ref("OUT"): {"ID": "int"}, ref("V"): {"ID": "int"}})


def edges(*sql: str, **more: Any) -> list[Any]:
    return list(derive(statements(*sql, **more), dialect="snowflake", catalog=CATALOG))


def test_a_query_leaves_its_id_and_time_as_evidence() -> None:
    table, column = edges("INSERT INTO out SELECT id FROM src")
    evidence = Evidence(kind=EvidenceKind.QUERY, reference="q0", first_seen=NOON, last_seen=NOON, confidence=PARSED)
    assert table == LineageEdge(source=ref("SRC"), destination=ref("OUT"), evidence=evidence)
    assert column == ColumnEdge(
        source=ref("SRC"), source_column="ID", destination=ref("OUT"), destination_column="ID", evidence=evidence
    )


@pytest.mark.parametrize(
    "text", ["SELECT id FROM src", "CREATE VIEW s.v AS SELECT id FROM src", "(SELECT id FROM src)"]
)
def test_a_views_text_with_or_without_create_leads_into_the_view(text: str) -> None:
    statement = Statement(sql=text, database="D", schema="S", view=ref("V"))
    table, column = derive([statement], dialect="snowflake", catalog=CATALOG)
    assert isinstance(table, LineageEdge)
    assert isinstance(column, ColumnEdge)
    assert (table.destination, table.destination_type) == (ref("V"), AssetType.VIEW)
    assert (table.evidence.kind, table.evidence.reference) == (EvidenceKind.VIEW, "D.S.V")
    assert column.destination_column == "ID"


def test_self_edges_and_unlisted_columns_are_no_edges() -> None:
    assert run(statements("UPDATE out SET id = id + 1"), catalog=CATALOG) == (set(), set(), [])
    assert run(statements("INSERT INTO out SELECT count(*) FROM nobody"), catalog=CATALOG)[1] == set()
    assert run(statements("CREATE TABLE x AS SELECT * FROM nobody"), catalog=CATALOG) == ({"NOBODY > X"}, set(), [])


@pytest.mark.parametrize(
    ("sql", "confidence"),
    [
        ("INSERT INTO out SELECT id FROM src", PARSED),
        ("INSERT INTO out SELECT id FROM nobody", PARSED * UNKNOWN_TABLE),
        ("INSERT INTO nobody SELECT id FROM nothing", PARSED * UNKNOWN_TABLE**2),
        ("INSERT INTO out SELECT brand_new FROM src", PARSED * UNKNOWN_COLUMN),
        ("INSERT INTO out (brand_new) SELECT id FROM src", PARSED * UNKNOWN_COLUMN),
    ],
)
def test_confidence_falls_where_the_catalog_does_not_know_an_end(sql: str, confidence: float) -> None:
    *_, column = edges(sql)
    assert column.evidence.confidence == pytest.approx(confidence, abs=0.001)


def test_a_struct_field_is_the_column_that_the_catalog_lists() -> None:
    catalog = DictCatalog({ref("SRC"): {"DEVICE": "struct", "A.B": "int"}, ref("OUT"): {"OS": "text"}})
    for path, column in (("device.os.name", "DEVICE"), ("src.device.os", "DEVICE"), ("s.device.os", "DEVICE")):
        log = statements(f"INSERT INTO out SELECT {path} AS os FROM src AS s")
        assert run(log, catalog=catalog)[1] == {f"SRC.{column} > OUT.OS"}
    twice = statements("INSERT INTO out SELECT s.device.x + s.device.y AS os FROM src AS s")
    assert [e for e in derive(twice, dialect="snowflake", catalog=catalog) if isinstance(e, ColumnEdge)][1:] == []


def test_what_is_only_scanned_for_names_says_so() -> None:
    table, *rest = edges("INSERT INTO out SELECT id FROM src WHERE ((")
    assert isinstance(table, Skipped)
    assert table.reason == "tables only: not parsed"
    (edge,) = rest
    assert edge.evidence.confidence == SCANNED


class _Opinion:
    def __init__(self, agreed: bool | None) -> None:
        self.agreed = agreed

    def agrees(self, sql: str, reads: set[str], destination: str) -> bool | None:
        assert (reads, destination) == ({"d.s.src"}, "d.s.out")
        return self.agreed


@pytest.mark.parametrize(("agreed", "confidence"), [(True, AGREED), (False, PARSED * DISPUTED), (None, PARSED)])
def test_a_second_opinion_raises_or_lowers_confidence(agreed: bool | None, confidence: float) -> None:
    log = statements("INSERT INTO out SELECT id FROM src")
    found = derive(log, dialect="snowflake", catalog=CATALOG, opinion=_Opinion(agreed))  # type: ignore[arg-type]
    assert next(found).evidence.confidence == pytest.approx(confidence, abs=0.001)


def test_a_name_that_stays_incomplete_is_skipped_and_the_rest_goes_on() -> None:
    _, _, skipped = run(
        statements("INSERT INTO out SELECT id FROM nobody", database=None, schema=None), catalog=CATALOG
    )
    assert skipped == ["a table's full name is not known"]


def test_nothing_a_log_may_hold_raises() -> None:
    texts = [
        "",
        ";",
        "\0",
        "SELECT",
        "INSERT INTO",
        "'",
        "/*",
        "(" * 5000,
        "\ud800",
        "💥",
        "SELECT " + "(" * 300 + ")" * 300,
    ]
    log = statements(*texts, "INSERT INTO out SELECT id FROM src")
    found, _, skipped = run(log, catalog=CATALOG)
    assert found == {"SRC > OUT"}
    assert "not parsed" in skipped


def test_statements_are_read_as_they_are_needed() -> None:
    taken = 0

    def endless() -> Any:
        nonlocal taken
        for n in count():
            taken += 1
            yield Statement(
                sql=f"INSERT INTO out{n} SELECT id FROM src", database="D", schema="S", query_id=str(n), at=NOON
            )

    assert len(list(islice(derive(endless(), dialect="snowflake", catalog=CATALOG), 10))) == 10
    assert taken <= 10_010


def test_a_statement_that_runs_often_is_told_at_first_and_with_its_last_time_at_the_end() -> None:
    log = statements(*(f"INSERT INTO out SELECT id FROM src WHERE id > {n}" for n in range(50)))
    found = [e for e in derive(log, dialect="snowflake", catalog=CATALOG) if isinstance(e, LineageEdge)]
    assert [(e.evidence.reference, e.evidence.first_seen, e.evidence.last_seen) for e in found] == [
        ("q0", NOON, NOON),
        ("q49", NOON, log[-1].at),
    ]


def test_order_is_by_time_and_stable() -> None:
    log = statements("a", "b", "c")
    late = replace(log[0], query_id="late")
    untimed = replace(log[0], at=None, query_id="untimed")
    assert [s.query_id for s in in_order([log[2], log[0], late, log[1], untimed])] == [
        "untimed", "q0", "late", "q1", "q2",
    ]  # fmt: skip


@pytest.mark.slow
def test_several_processes_find_the_same() -> None:
    log = statements(*(f"INSERT INTO out SELECT {n} + id FROM src" for n in range(500)), session=None)
    log += statements("CREATE TEMP TABLE t AS SELECT id FROM src", "INSERT INTO v SELECT * FROM t")
    alone = list(derive(log, dialect="snowflake", catalog=CATALOG))
    assert list(derive(log, dialect="snowflake", catalog=CATALOG, workers=2)) == alone


def test_a_catalog_that_cannot_travel_leaves_the_work_to_one_process() -> None:
    class Open(DictCatalog):
        def __init__(self) -> None:
            super().__init__({ref("SRC"): {"ID": "int"}})
            self.connection = (n for n in range(3))  # like an open cursor: cannot be pickled

    assert run(statements("INSERT INTO out SELECT id FROM src"), catalog=Open(), workers=2)[0] == {"SRC > OUT"}


def test_a_source_in_another_resource_carries_its_target() -> None:
    target = Target(resource_uuid="u", resource_type="snowflake", log_type="snowflake")
    (table, column) = across(
        edges("INSERT INTO out SELECT id FROM src"), lambda source: target if source.name == "SRC" else None
    )
    assert table.source_target == column.source_target == target
    (same, _) = across(edges("INSERT INTO out SELECT id FROM src"), lambda source: None)
    assert same.source_target is None


def edge(source: str, kind: EvidenceKind, confidence: float = 0.9, at: Any = NOON, reference: str = "r") -> LineageEdge:
    evidence = Evidence(kind=kind, reference=reference, first_seen=at, last_seen=at, confidence=confidence)
    return LineageEdge(source=ref(source), destination=ref("OUT"), evidence=evidence)


def test_the_graph_keeps_the_best_evidence_and_both_times_in_any_order() -> None:
    later = NOON.replace(hour=15)
    seen = [
        edge("A", EvidenceKind.QUERY, 0.95, later, "q2"),
        edge("A", EvidenceKind.VIEW, 0.9, NOON, "v"),
        edge("A", EvidenceKind.QUERY, 0.95, NOON, "q1"),
    ]
    for order in (seen, seen[::-1], [seen[1], seen[2], seen[0]]):
        graph = Graph()
        graph.extend(order)
        (best,) = graph.edges()
        assert best.evidence == Evidence(
            kind=EvidenceKind.VIEW, reference="v", first_seen=NOON, last_seen=later, confidence=0.95
        )


def test_native_lineage_weighs_on_what_it_does_not_confirm() -> None:
    graph = Graph()
    graph.extend([edge("A", EvidenceKind.NATIVE, 1.0), edge("B", EvidenceKind.QUERY, 0.7)])
    assert [e.source.name for e in graph.pushed(0.6)] == ["A"]
    assert [e.source.name for e in graph.kept(0.6)] == ["B"]
    alone = Graph()
    alone.add(edge("B", EvidenceKind.QUERY, 0.7))
    assert len(list(alone.pushed(0.6))) == 1


def column_edge(source: str, kind: EvidenceKind, column: str = "ID") -> ColumnEdge:
    evidence = Evidence(kind=kind, confidence=0.9)
    return ColumnEdge(
        source=ref(source), source_column=column, destination=ref("OUT"), destination_column=column, evidence=evidence
    )


def test_native_tables_confirm_columns_where_the_warehouse_reports_no_columns() -> None:
    graph = Graph()
    graph.extend([edge("A", EvidenceKind.NATIVE), *(column_edge(s, EvidenceKind.QUERY) for s in ("A", "B"))])
    assert [(e.source.name, e.evidence.confidence) for e in graph.edges() if isinstance(e, ColumnEdge)] == [
        ("A", 0.9), ("B", 0.765),
    ]  # fmt: skip
    graph.add(column_edge("A", EvidenceKind.NATIVE, "NAME"))
    found = {e.source_column: e.evidence.confidence for e in graph.edges() if isinstance(e, ColumnEdge)}
    assert found == {"ID": 0.765, "NAME": 0.9}
