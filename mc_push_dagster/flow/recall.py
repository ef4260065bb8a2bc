"""What the ledger remembers of pushes, put as the question that `verify` asks Monte Carlo."""

from __future__ import annotations

from collections.abc import Sequence

from mc_push_dagster.flow.verification import Pushed
from mc_push_dagster.ledger import Ledger, PushKind, PushRecord
from mc_push_dagster.model import ColumnEdge, EvidenceKind, LineageEdge, Window

VERIFIABLE = (PushKind.CATALOG, PushKind.SCHEMA, PushKind.LINEAGE, PushKind.QUERY_LOGS, PushKind.MANIFEST)


def latest(ledger: Ledger, target_uuid: str) -> tuple[PushRecord, ...]:
    """The newest push of each kind that got a receipt, the newest first; a push with nothing new is no news."""
    found: dict[PushKind, PushRecord] = {}
    for push in ledger.pushes(target_uuid=target_uuid, limit=500):
        if push.kind not in found and ledger.receipts(push.push_id):
            found[push.kind] = push
    return tuple(found.values())


def recall(ledger: Ledger, target_uuid: str, pushes: Sequence[PushRecord]) -> Pushed:
    """Gather what the given pushes sent and Monte Carlo acknowledged: tables, edges, queried tables, receipts."""
    ids = {push.push_id for push in pushes}
    receipts = [receipt for push in pushes for receipt in ledger.receipts(push.push_id)]
    carried = [push for push in pushes if push.kind is not PushKind.LINEAGE and push.kind is not PushKind.QUERY_LOGS]
    since = min((push.started_at for push in carried), default=None)
    tables = [
        table.ref
        for table in (ledger.tables(target_uuid, gone=False) if since is not None else ())
        if table.pushed_at is not None and since is not None and table.pushed_at >= since
    ]
    windows = [push.window for push in pushes if push.window is not None]
    window = Window(start=min(w.start for w in windows), end=max(w.end for w in windows)) if windows else None
    edges: list[LineageEdge] = []
    queried = set()
    for record in ledger.edges(target_uuid, columns=False):
        edge = record.edge
        assert isinstance(edge, LineageEdge)
        if record.push_id in ids:
            edges.append(edge)
        seen = edge.evidence.last_seen
        if window is not None and edge.evidence.kind is EvidenceKind.QUERY and seen is not None and seen in window:
            queried.add(edge.destination)
    column_edges = [
        record.edge
        for record in ledger.edges(target_uuid, columns=True)
        if record.push_id in ids and isinstance(record.edge, ColumnEdge)
    ]
    return Pushed(
        resource_uuid=target_uuid,
        receipts=receipts,
        tables=tables,
        edges=edges,
        column_edges=column_edges,
        queried=queried,
        query_window=window,
    )
