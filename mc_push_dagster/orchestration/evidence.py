"""What the asset checks find, from the ledger and from Monte Carlo itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.model import hour_bucket

if TYPE_CHECKING:
    from mc_push_dagster.assembly import Station
    from mc_push_dagster.flow.verification import Verification
    from mc_push_dagster.ledger import PushRecord

DAY = timedelta(hours=24)
NAMES = 50
"""Names that are shown at most."""
STUCK = timedelta(hours=1)
"""A push that runs for longer has no process behind it: Dagster ends runs after 55 minutes (dagster.yaml)."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The answer to one question; `words` is one sentence, `facts` are shown as metadata."""

    passed: bool
    words: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    warn: bool = False
    """A failure that a person may look at later."""


def receipts_complete(station: Station, *, now: datetime) -> Finding:
    """Has the newest push of each kind an invocation id for every body?"""
    from mc_push_dagster.ledger import PushState

    newest: dict[str, PushRecord] = {}
    for push in _pushes(station, since=now - DAY):
        newest.setdefault(push.kind.value, push)
    if not newest:
        return Finding(passed=False, words="nothing was pushed in the last 24 hours", warn=True)
    broken = [
        f"{kind}: {push.outcome.get('error') or 'it broke off'}"
        for kind, push in newest.items()
        if push.state is PushState.INCOMPLETE or (push.state is PushState.RUNNING and now - push.started_at > STUCK)
    ]
    refused = [f"{item['name']}: {item['reason']}" for p in newest.values() for item in p.outcome.get("set_aside", ())]
    facts = {
        "mc/pushes": {kind: push.push_id for kind, push in newest.items()},
        "mc/receipts": sum(len(station.ledger.receipts(push.push_id)) for push in newest.values()),
    }
    if broken or refused:
        facts |= {"mc/incomplete": broken[:NAMES], "mc/set_aside": refused[:NAMES]}
        words = f"{len(broken)} of the newest pushes are incomplete, {len(refused)} events were refused"
        return Finding(passed=False, words=words, facts=facts)
    words = f"the newest pushes ({', '.join(sorted(newest))}) arrived whole with {facts['mc/receipts']} receipts"
    return Finding(passed=True, words=words, facts=facts)


def verified(station: Station, *, now: datetime) -> Finding:
    """Does Monte Carlo show what the newest pushes sent? What is too early to tell is not held against them.

    Raises:
        FixConfiguration: if there is no GraphQL key to ask with.
    """
    from mc_push_dagster.flow.recall import latest, recall
    from mc_push_dagster.flow.verify import verify

    if station.reader is None:
        raise FixConfiguration("asking Monte Carlo needs an API key (not the ingestion key): set MCD_ID and MCD_TOKEN")
    uuid = station.target.resource_uuid
    pushes = latest(station.ledger, uuid)
    if not pushes:
        return Finding(passed=False, words="nothing was pushed yet", warn=True)
    found = verify(recall(station.ledger, uuid, pushes), reader=station.reader, now=now)
    facts: dict[str, Any] = {"mc/pushes": [push.push_id for push in pushes], **_shown(found)}
    early = sum(facts[f"mc/{what}"]["too early to tell"] for what in ("tables", "edges", "column_edges", "queries"))
    waiting = f"; {early} are too early to tell" if early else ""
    if found.sound:
        return Finding(passed=True, words=f"nothing is missing in Monte Carlo{waiting}", facts=facts)
    missing = sum(facts[f"mc/{what}"]["missing"] for what in ("tables", "edges", "column_edges", "queries"))
    return Finding(passed=False, words=f"{missing} are missing in Monte Carlo{waiting}", facts=facts)


def _shown(found: Verification) -> dict[str, Any]:
    from mc_push_dagster.flow.verification import Verdict

    tables = {verdict.value: len(found.tables_that_are(verdict)) for verdict in Verdict}
    parts = {"edges": found.edges, "column_edges": found.column_edges, "queries": found.queries}
    missing = [str(ref) for ref in found.tables_that_are(Verdict.MISSING)]
    missing += [name for part in parts.values() for name in part.missing]
    return {
        "mc/tables": tables,
        **{
            f"mc/{name}": {"seen": p.seen, "missing": len(p.missing), "too early to tell": len(p.too_early)}
            for name, p in parts.items()
        },
        "mc/missing": missing[:NAMES],
    }


def hourly_cadence(station: Station, *, now: datetime) -> Finding:
    """Did volume and freshness go out in each full hour of the last day, as the product document asks?

    Hours before the first push of the last two days are not held against it: pushing had not begun, or begun anew.
    """
    from mc_push_dagster.ledger import PushKind, PushState

    kinds = (PushKind.CATALOG, PushKind.MANIFEST)
    end = hour_bucket(now)
    done = [p for p in _pushes(station, since=end - 2 * DAY) if p.kind in kinds and p.state is PushState.COMPLETE]
    if not done:
        return Finding(passed=False, words="no catalog arrived whole in the last 48 hours", warn=True)
    pushed = {push.hour for push in done}
    due = [hour for n in range(24, 0, -1) if (hour := end - timedelta(hours=n)) >= min(pushed)]
    missed = [f"{hour:%Y-%m-%dT%H:00Z}" for hour in due if hour not in pushed]
    facts = {"mc/hours": len(due), "mc/missed_hours": missed}
    if not due:
        return Finding(passed=True, words="the first full hour is not over yet", facts=facts)
    if missed:
        return Finding(passed=False, words=f"{len(missed)} of the last {len(due)} full hours were missed", facts=facts)
    return Finding(passed=True, words=f"none of the last {len(due)} full hours was missed", facts=facts)


def schema_drift(station: Station, *, now: datetime) -> Finding:
    """Did the newest catalog push find schemas changed since the push before it?"""
    from mc_push_dagster.ledger import PushKind

    kinds = (PushKind.CATALOG, PushKind.SCHEMA, PushKind.MANIFEST)
    newest = next((p for p in _pushes(station, since=now - DAY) if p.kind in kinds), None)
    if newest is None:
        return Finding(passed=False, words="no catalog was pushed in the last 24 hours", warn=True)
    changes = newest.outcome.get("changes", ())
    facts = {"mc/push_id": newest.push_id, "mc/changes": [_change(change) for change in changes[:NAMES]]}
    count = newest.outcome.get("counts", {}).get("changes", len(changes))
    if count:
        return Finding(passed=False, words=f"{count} tables changed their schema", facts=facts, warn=True)
    return Finding(passed=True, words="no table changed its schema", facts=facts)


def _change(change: Mapping[str, Any]) -> str:
    ref = change["ref"]
    columns = [
        *(f"+{name}" for name in change.get("columns_added", ())),
        *(f"-{name}" for name in change.get("columns_removed", ())),
        *(f"~{name}" for name in change.get("columns_retyped", ())),
    ]
    return f"{ref['database']}.{ref['schema']}.{ref['name']} {change['change']} {' '.join(columns[:NAMES])}".rstrip()


def _pushes(station: Station, *, since: datetime) -> Sequence[PushRecord]:
    return station.ledger.pushes(
        target_uuid=station.target.resource_uuid, warehouse=station.config.name, since=since, limit=1000
    )
