"""Asset checks on the catalog push: did it arrive, was it taken in, is the hourly cadence kept, did schemas drift."""

# No `from __future__ import annotations` here: Dagster reads the annotation of `context` itself.

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

from mc_push_dagster.errors import PushError
from mc_push_dagster.orchestration import evidence
from mc_push_dagster.orchestration.plan import CATALOG, Clock, Plan
from mc_push_dagster.orchestration.schedules import VERIFIED

if TYPE_CHECKING:
    from mc_push_dagster.assembly import Station

RECEIPTS, CADENCE, DRIFT = "receipts_complete", "hourly_cadence", "schema_drift"

DESCRIPTIONS = {
    RECEIPTS: "Every body of the last pushes has an invocation id, and nothing was set aside.",
    VERIFIED: "Monte Carlo shows what was pushed, as soon as its documented latency has passed.",
    CADENCE: "Volume and freshness went out in each of the last 24 hours.",
    DRIFT: "No table's schema changed since the push before.",
}

QUESTIONS = {
    RECEIPTS: evidence.receipts_complete,
    VERIFIED: evidence.verified,
    CADENCE: evidence.hourly_cadence,
    DRIFT: evidence.schema_drift,
}


def push_checks(plan: Plan, *, clock: Clock) -> dg.AssetChecksDefinition:
    """One op for the four checks, each of which can be run by itself at any time."""

    @dg.multi_asset_check(
        name=f"{plan.prefix}_checks",
        specs=[
            dg.AssetCheckSpec(name, asset=plan.key(CATALOG), description=words) for name, words in DESCRIPTIONS.items()
        ],
        can_subset=True,
        required_resource_keys=plan.resources,
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        chosen = {key.name for key in context.selected_asset_check_keys}
        with plan.station(context.resources) as station:
            for name in (name for name in QUESTIONS if name in chosen):
                yield answer(plan, name, station, now=clock())

    return checks


def answer(plan: Plan, name: str, station: "Station", *, now: datetime) -> dg.AssetCheckResult:
    """Ask one question; what keeps us from an answer is a failed check with the reason, not a failed run."""
    try:
        found = QUESTIONS[name](station, now=now)
    except PushError as error:
        found = evidence.Finding(passed=False, words=str(error), warn=True)
    return dg.AssetCheckResult(
        asset_key=plan.key(CATALOG),
        check_name=name,
        passed=found.passed,
        severity=dg.AssetCheckSeverity.WARN if found.warn else dg.AssetCheckSeverity.ERROR,
        description=found.words,
        metadata=found.facts,
    )
