"""When a catalog push reads columns, too: once a day, and as soon as a fingerprint says that a schema changed.

Between those, volume and freshness go out by themselves, which spares the warehouse its largest statement every hour. A
metadata event without `fields` leaves the schema that Monte Carlo has (push-ingestion skill, "Ready-to-run examples":
`--only-freshness-and-volume` for hourly jobs after the first full push).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from mc_push_dagster.flow.run import Run
from mc_push_dagster.model import Fingerprint
from mc_push_dagster.warehouses.base import Capability

_SLACK = timedelta(minutes=30)
"""An hourly schedule is never exact: a day must not become 25 hours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the fingerprints say before a catalog is read."""

    due: bool
    """Columns are to be read."""
    taken_at: datetime
    fingerprints: tuple[Fingerprint, ...] = ()


def look(run: Run) -> Look:
    """Take the warehouse's fingerprints, if it has any, and compare them with those of the last full push."""
    kit, now = run.kit, run.kit.clock()
    every = timedelta(hours=kit.config.schema_every_hours)
    support = kit.warehouse.capabilities.get(Capability.DRIFT)
    if not every or support is None or support.state != "yes":
        return Look(due=True, taken_at=now)
    found = tuple(kit.warehouse.fingerprints())
    taken = tuple(item for item in found if isinstance(item, Fingerprint))
    before = kit.ledger.fingerprints(run.target_uuid)
    same = len(taken) == len(found) > 0 and before.keys() == {fingerprint.database for fingerprint in taken}
    current = same and all(before[f.database][0] == f and now - before[f.database][1] < every - _SLACK for f in taken)
    return Look(due=not current, taken_at=now, fingerprints=taken)


def remember(run: Run, seen: Look) -> None:
    """Note the fingerprints of a push that carried every schema; one with gaps or losses is not noted, but repeated."""
    if seen.due and not run.delivery.undelivered and not run.tally.gaps:
        run.kit.ledger.set_fingerprints(run.target_uuid, seen.fingerprints, taken_at=seen.taken_at)
