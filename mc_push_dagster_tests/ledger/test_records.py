"""What goes into the ledger comes out as it was."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mc_push_dagster.ledger import (
    BatchState,
    Due,
    EdgeKey,
    Ledger,
    LedgerCatalog,
    PushedTable,
    PushKind,
    PushState,
    Sample,
)
from mc_push_dagster.ledger.rehearsal import rehearsal
from mc_push_dagster.model import (
    AssetType,
    Column,
    ColumnEdge,
    EvidenceKind,
    Feed,
    Fingerprint,
    LineageEdge,
    Target,
    Window,
)
from mc_push_dagster_tests.ledger.samples import (
    HOUR,
    NOW,
    TARGET,
    UUID,
    batch,
    begin,
    column_edge,
    edge,
    note,
    ref,
    snapshot,
)


def test_a_push_is_followed_from_its_first_body_to_its_last_receipt(ledger: Ledger) -> None:
    begin(ledger, "p")
    held = ledger.take_lease("push p", NOW)
    assert held is not None
    first, second = ledger.add_batch("p", UUID, batch()), ledger.add_batch("p", UUID, batch(Feed.LINEAGE))
    assert (first.seq, second.seq) == (1, 2)
    ledger.begin_send("p", 1, held)
    assert [b.state for b in ledger.batches("p")] == [BatchState.SENDING, BatchState.PENDING]
    ledger.acknowledge("p", 1, "id-1", NOW)
    ledger.acknowledge("p", 1, "id-1", NOW)
    ledger.not_sent("p", 1)
    parts = ledger.split_batch("p", 2, UUID, [batch(Feed.LINEAGE), batch(Feed.LINEAGE)])
    ledger.set_aside("p", parts[0].seq, names=["Shop:main.orders"], reason="refused")
    ledger.begin_send("p", parts[1].seq, held, maybe_twice=True)
    ledger.acknowledge("p", parts[1].seq, "id-2", NOW + HOUR)

    batches = ledger.batches("p")
    assert [b.state for b in batches] == [
        BatchState.ACKNOWLEDGED,
        BatchState.SPLIT,
        BatchState.SET_ASIDE,
        BatchState.ACKNOWLEDGED,
    ], "what was acknowledged stays so"
    assert (batches[2].refused, batches[2].reason) == (("Shop:main.orders",), "refused")
    assert (batches[3].attempts, batches[3].maybe_twice) == (1, True)
    receipts = ledger.receipts("p")
    assert [(r.invocation_id, r.feed, r.events, r.received_at) for r in receipts] == [
        ("id-1", Feed.METADATA, 2, NOW),
        ("id-2", Feed.LINEAGE, 2, NOW + HOUR),
    ]
    ledger.finish_push(
        "p", state=PushState.COMPLETE, finished_at=NOW, outcome={"counts": {"tables": 2}}, manifest="uri"
    )
    push = ledger.last_push(target_uuid=UUID, kinds=[PushKind.CATALOG])
    assert push is not None
    assert (push.push_id, push.target, push.outcome, push.manifest) == ("p", TARGET, {"counts": {"tables": 2}}, "uri")


def test_pushes_are_found_by_what_is_asked(ledger: Ledger) -> None:
    begin(ledger, "a")
    begin(ledger, "b", kind=PushKind.LINEAGE, at=NOW + HOUR)
    assert [p.push_id for p in ledger.pushes()] == ["b", "a"]
    assert [p.push_id for p in ledger.pushes(limit=1)] == ["b"]
    assert [p.push_id for p in ledger.pushes(kinds=[PushKind.CATALOG])] == ["a"]
    assert [p.push_id for p in ledger.pushes(since=NOW + HOUR)] == ["b"]
    assert ledger.pushes(target_uuid="other") == ledger.pushes(warehouse="other") == ()
    assert ledger.last_push(target_uuid=UUID) is None, "none arrived whole"
    assert ledger.push("a") is not None
    assert ledger.push("c") is None


def test_seen_ids_are_those_that_arrived_or_were_refused(ledger: Ledger) -> None:
    window = Window.hour(NOW)
    begin(ledger, "p", kind=PushKind.QUERY_LOGS)
    top = 2**63 - 1
    for keys in ((1, 2), (3, top), (5,)):
        ledger.add_batch("p", UUID, batch(Feed.QUERY_LOG, covers=window, keys=keys))
    ledger.acknowledge("p", 1, "id", NOW)
    ledger.set_aside("p", 2, names=["q"], reason="refused")
    assert sorted(ledger.seen_keys(UUID, window)) == [1, 2, 3, top]
    assert list(ledger.seen_keys(UUID, Window.hour(NOW + HOUR))) == []
    assert list(ledger.seen_keys("other", window)) == []


def test_a_schema_is_the_last_one_pushed_or_before_that_the_last_one_read(ledger: Ledger) -> None:
    begin(ledger, "p")
    note(ledger, snapshot("orders", "id"))
    note(ledger, snapshot("orders", "id", "new"), at=NOW + HOUR)
    record = ledger.schema_of(UUID, ref("orders"))
    assert record is not None
    assert [c.name for c in record.columns or ()] == ["id", "new"]
    assert (record.pushed_digest, record.first_seen, record.last_seen) == (None, NOW, NOW + HOUR)

    seq = ledger.add_batch("p", UUID, batch()).seq
    columns = (Column(name="id", type="INTEGER", description="of id"),)
    pushed = PushedTable(ref=ref("orders"), columns=columns, digest="d" * 32)
    ledger.record_metadata(UUID, [pushed], push_id="p", seq=seq, hour=NOW, at=NOW)
    note(ledger, snapshot("orders", "id", "newer"))
    record = ledger.schema_of(UUID, ref("orders"))
    assert record is not None
    assert (record.columns, record.digest, record.pushed_digest) == (columns, "d" * 32, "d" * 32)
    assert ledger.batches("p")[0].applied
    assert list(ledger.samples(UUID)) == [], "a schema by itself is no sample"


def test_samples_keep_true_zeroes_and_unknowns_apart(ledger: Ledger) -> None:
    begin(ledger, "p")
    note(ledger, snapshot("orders", "id"), snapshot("huge", "id"))
    seq = ledger.add_batch("p", UUID, batch()).seq
    tables = [
        PushedTable(ref=ref("orders"), columns=None, digest=None, row_count=0),
        PushedTable(ref=ref("huge"), columns=None, digest=None, byte_count=2**62, changed_at=NOW - HOUR),
    ]
    for _ in range(2):  # again after a crash
        ledger.record_metadata(UUID, tables, push_id="p", seq=seq, hour=NOW, at=NOW)
    [orders] = ledger.samples(UUID, ref=ref("orders"))
    hour = NOW.replace(minute=0)
    assert orders == Sample(
        ref=ref("orders"), hour=hour, row_count=0, byte_count=None, changed_at=None, push_id="p", received_at=NOW
    )
    [huge] = ledger.samples(UUID, ref=ref("huge"), since=hour)
    assert (huge.row_count, huge.byte_count, huge.changed_at) == (None, 2**62, NOW - HOUR)
    assert list(ledger.samples(UUID, since=NOW)) == []


def test_a_table_gets_a_tombstone_and_loses_it_when_it_is_back(ledger: Ledger) -> None:
    note(ledger, snapshot("orders", "id"), snapshot("users", "id"), snapshot("elsewhere", "id"))
    note(ledger, snapshot("users", "id"), at=NOW + HOUR)
    lost = ledger.bury(UUID, not_seen_since=NOW + HOUR, covered=lambda r: r.name != "elsewhere", at=NOW + HOUR)
    assert [(r.ref, [c.name for c in r.columns or ()]) for r in lost] == [(ref("orders"), ["id"])]
    assert [r.ref for r in ledger.tables(UUID, gone=True)] == [ref("orders")]
    assert ledger.table_count(UUID) == 2
    assert ledger.bury(UUID, not_seen_since=NOW + HOUR, covered=lambda _: False, at=NOW) == ()
    note(ledger, snapshot("orders", "id"), at=NOW + 2 * HOUR)
    assert list(ledger.tables(UUID, gone=True)) == []
    assert ledger.digests(UUID, [ref("orders")])[ref("orders")].gone is False


def test_an_edge_keeps_when_it_was_seen_and_its_best_evidence(ledger: Ledger) -> None:
    ledger.record_edges(UUID, [edge("a", "b", confidence=0.9, reference="q1")], seen_at=NOW)
    later = NOW + 2 * HOUR
    ledger.record_edges(UUID, [edge("a", "b", at=later, confidence=0.6, reference="q2")], seen_at=later)
    ledger.record_edges(UUID, [edge("a", "b", at=NOW - HOUR, confidence=0.6, reference="q0")], seen_at=later)
    [record] = ledger.edges(UUID)
    assert (record.first_seen, record.last_seen) == (NOW - HOUR, later)
    assert (record.edge.evidence.reference, record.edge.evidence.confidence) == ("q1", 0.9)
    assert record.pushed_at is None
    ledger.record_edges(UUID, [edge("a", "b", kind=EvidenceKind.NATIVE, reference=None)], seen_at=later)
    [record] = ledger.edges(UUID, destination=ref("b"), source=ref("a"))
    assert record.edge.evidence.kind is EvidenceKind.NATIVE
    assert list(ledger.edges(UUID, destination=ref("a"))) == list(ledger.edges(UUID, columns=True)) == []


def test_table_and_column_edges_of_another_resource_come_back_as_they_were(ledger: Ledger) -> None:
    other = Target(resource_uuid="99999999-2222-4333-8444-555555555555", resource_type="postgres", log_type="generic")
    plain = edge("orders", "mart")
    table = LineageEdge(source=ref("orders"), destination=ref("mart"), evidence=plain.evidence, source_target=other)
    column = ColumnEdge(
        source=ref("orders"),
        source_column="Id",
        destination=ref("mart"),
        destination_column="id",
        evidence=plain.evidence,
        source_target=other,
        source_type=AssetType.VIEW,
    )
    ledger.record_edges(UUID, [plain, table, column], seen_at=NOW)
    found = {record.edge for columns in (False, True) for record in ledger.edges(UUID, columns=columns)}
    assert found == {plain, table, column}, "the same names in two resources are two tables"


def test_the_catalog_says_which_names_are_views(ledger: Ledger) -> None:
    from dataclasses import replace

    note(ledger, replace(snapshot("v", "id"), asset_type=AssetType.VIEW))
    ledger.record_edges(UUID, [edge("v", "t")], seen_at=NOW)
    [record] = ledger.edges(UUID)
    assert (record.edge.source_type, record.edge.destination_type) == (AssetType.VIEW, AssetType.TABLE)


def due(**changes: object) -> Due:
    given = {
        "columns": False,
        "pushed_before": NOW - timedelta(days=7),
        "alive_since": NOW - timedelta(days=30),
        "views_since": NOW,
        "minimum_confidence": 0.5,
    }
    return Due(**(given | changes))  # type: ignore[arg-type]


def test_all_sources_of_a_destination_are_due_together(ledger: Ledger) -> None:
    begin(ledger, "p", kind=PushKind.LINEAGE)
    ledger.record_edges(UUID, [edge("a", "m"), edge("b", "m"), edge("a", "other")], seen_at=NOW)
    seq = ledger.add_batch("p", UUID, batch(Feed.LINEAGE)).seq
    keys = [EdgeKey.of(edge("a", "m")), EdgeKey.of(edge("a", "other"))]
    ledger.record_pushed_edges(UUID, keys, push_id="p", seq=seq, at=NOW)
    assert [r.edge for r in ledger.due_edges(UUID, due())] == [
        r.edge for r in ledger.edges(UUID, destination=ref("m"))
    ], "b was never pushed, so a goes with it; the other destination rests"
    assert len(list(ledger.due_edges(UUID, due(pushed_before=NOW + HOUR)))) == 3


@pytest.mark.parametrize(
    "dead",
    [
        edge("x", "m", confidence=0.49),
        edge("x", "m", at=NOW - timedelta(days=31)),
        edge("gone", "m"),
    ],
    ids=["not trusted", "not seen for a month", "of a table that is gone"],
)
def test_an_edge_that_is_kept_but_not_pushed_makes_nothing_due(ledger: Ledger, dead: LineageEdge) -> None:
    begin(ledger, "p", kind=PushKind.LINEAGE)
    note(ledger, snapshot("gone", "id"), at=NOW - HOUR)
    ledger.bury(UUID, not_seen_since=NOW, covered=lambda _: True, at=NOW)
    ledger.record_edges(UUID, [edge("a", "m"), dead], seen_at=NOW)
    seq = ledger.add_batch("p", UUID, batch(Feed.LINEAGE)).seq
    ledger.record_pushed_edges(UUID, [EdgeKey.of(edge("a", "m"))], push_id="p", seq=seq, at=NOW)
    assert list(ledger.due_edges(UUID, due())) == []
    assert len(list(ledger.edges(UUID))) == 2, "it is kept"


def test_an_edge_of_a_view_text_that_is_gone_is_not_pushed(ledger: Ledger) -> None:
    ledger.record_edges(UUID, [edge("old", "v", kind=EvidenceKind.VIEW)], seen_at=NOW - HOUR)
    ledger.record_edges(UUID, [edge("new", "v", kind=EvidenceKind.VIEW)], seen_at=NOW)
    assert [r.edge.source.name for r in ledger.due_edges(UUID, due())] == ["new"]
    assert len(list(ledger.due_edges(UUID, due(views_since=NOW - HOUR)))) == 2


def test_column_edges_are_due_by_themselves(ledger: Ledger) -> None:
    ledger.record_edges(UUID, [edge("a", "m"), column_edge("a", "m")], seen_at=NOW)
    assert [type(r.edge) for r in ledger.due_edges(UUID, due(columns=True))] == [ColumnEdge]
    assert [type(r.edge) for r in ledger.due_edges(UUID, due())] == [LineageEdge]


def test_a_window_once_complete_stays_complete_and_counts_what_arrived(ledger: Ledger) -> None:
    window = Window.hour(NOW)
    begin(ledger, "p", kind=PushKind.QUERY_LOGS)
    ledger.record_window(UUID, window, push_id="p", complete=True, at=NOW)
    ledger.add_batch("p", UUID, batch(Feed.QUERY_LOG, covers=window, keys=(1, 2)))
    ledger.acknowledge("p", 1, "id", NOW)
    ledger.record_window(UUID, window, push_id="q", complete=False, at=NOW + HOUR)
    [record] = ledger.windows(UUID, within=window)
    assert (record.complete, record.queries, record.push_id, record.updated_at) == (True, 2, "q", NOW + HOUR)
    assert ledger.windows(UUID, within=Window.hour(NOW + HOUR)) == ()


def test_a_fingerprint_replaces_the_one_before(ledger: Ledger) -> None:
    for digest in ("a", "b"):
        ledger.set_fingerprints(UUID, [Fingerprint(database="Shop", digest=digest)], taken_at=NOW)
    assert ledger.fingerprints(UUID) == {"Shop": (Fingerprint(database="Shop", digest="b"), NOW)}


def test_lineage_resolves_names_by_the_catalog_that_was_pushed(ledger: Ledger) -> None:
    note(ledger, snapshot("Orders", "id", "at"), snapshot("gone", "id"))
    note(ledger, snapshot("Orders", "id", "at"), at=NOW + HOUR)
    ledger.bury(UUID, not_seen_since=NOW + HOUR, covered=lambda _: True, at=NOW)
    catalog = LedgerCatalog(ledger, UUID, kept=1)
    assert catalog.find(["orders"], "shop", "MAIN") == ref("Orders")
    assert catalog.find(["gone"], "Shop", "main") is None
    for _ in range(2):
        assert catalog.columns(ref("Orders")) == {"id": "INTEGER", "at": "INTEGER"}
        assert catalog.columns(ref("unknown")) is None


def test_a_rehearsal_knows_what_the_ledger_knows_and_leaves_it_alone(ledger: Ledger) -> None:
    begin(ledger, "p")
    note(ledger, snapshot("orders", "id"))
    ledger.claim(UUID, [ref("orders")], hour=NOW, push_id="p")
    ledger.record_edges(UUID, [edge("orders", "mart")], seen_at=NOW)
    window = Window.hour(NOW)
    ledger.add_batch("p", UUID, batch(Feed.QUERY_LOG, covers=window, keys=(7,)))
    ledger.acknowledge("p", 1, "id", NOW)
    ledger.record_window(UUID, window, push_id="p", complete=True, at=NOW)
    with rehearsal(ledger, target_uuid=UUID, now=NOW, windows=window) as copy:
        assert list(copy.tables(UUID)) == list(ledger.tables(UUID))
        assert list(copy.edges(UUID)) == list(ledger.edges(UUID))
        assert copy.windows(UUID) == ledger.windows(UUID)
        assert list(copy.seen_keys(UUID, window)) == [7]
        assert copy.claim(UUID, [ref("orders")], hour=NOW, push_id="dry") == frozenset()
        note(copy, snapshot("new", "id"))
    assert ledger.table_count(UUID) == 1
