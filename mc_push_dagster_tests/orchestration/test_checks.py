"""What the checks answer, over a real ledger with a day's pushes in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.ledger import Ledger, PushKind, PushState
from mc_push_dagster.model import Window
from mc_push_dagster.orchestration import evidence
from mc_push_dagster_tests.orchestration.fakes import NOW, TARGET

HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as opened:
        yield opened


@pytest.fixture
def opened(ledger: Ledger) -> Any:
    return SimpleNamespace(ledger=ledger, target=TARGET, config=SimpleNamespace(name="shop"), reader=None)


def pushed(
    ledger: Ledger,
    at: datetime,
    *,
    kind: PushKind = PushKind.CATALOG,
    state: PushState = PushState.COMPLETE,
    outcome: Mapping[str, Any] | None = None,
    warehouse: str = "shop",
) -> None:
    push_id = f"{kind.value}-{at:%d%H%M}-{warehouse}"
    window = Window.hour(at) if kind is PushKind.QUERY_LOGS else None
    ledger.begin_push(
        push_id,
        kind=kind,
        warehouse=warehouse,
        target=TARGET,
        hour=at.replace(minute=0),
        started_at=at,
        window=window,
    )
    if state is not PushState.RUNNING:
        ledger.finish_push(push_id, state=state, finished_at=at, outcome=outcome or {})


def test_an_unbroken_day_has_kept_the_cadence(ledger: Ledger, opened: Any) -> None:
    for n in range(30):
        pushed(ledger, NOW - n * HOUR)
    found = evidence.hourly_cadence(opened, now=NOW)
    assert (found.passed, found.words) == (True, "none of the last 24 full hours was missed")


def test_missed_hours_are_named(ledger: Ledger, opened: Any) -> None:
    for n in range(30):
        if n == 3:
            pushed(ledger, NOW - n * HOUR, state=PushState.INCOMPLETE)
        elif n == 5:
            pushed(ledger, NOW - n * HOUR, warehouse="another")
        else:
            pushed(ledger, NOW - n * HOUR)
    found = evidence.hourly_cadence(opened, now=NOW)
    assert (found.passed, found.words) == (False, "2 of the last 24 full hours were missed")
    assert found.facts["mc/missed_hours"] == ["2026-11-20T07:00Z", "2026-11-20T09:00Z"]


def test_hours_before_the_first_push_were_not_missed(ledger: Ledger, opened: Any) -> None:
    for n in (0, 1, 2):
        pushed(ledger, NOW - n * HOUR)
    assert evidence.hourly_cadence(opened, now=NOW).words == "none of the last 2 full hours was missed"


def test_the_hour_under_way_is_not_missed_yet(ledger: Ledger, opened: Any) -> None:
    pushed(ledger, NOW - HOUR)
    found = evidence.hourly_cadence(opened, now=NOW)
    assert (found.passed, found.facts["mc/hours"]) == (True, 1)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (evidence.receipts_complete, "nothing was pushed in the last 24 hours"),
        (evidence.hourly_cadence, "no catalog arrived whole in the last 48 hours"),
        (evidence.schema_drift, "no catalog was pushed in the last 24 hours"),
    ],
)
def test_silence_is_a_warning_not_a_pass(opened: Any, question: Any, words: str) -> None:
    found = question(opened, now=NOW)
    assert (found.passed, found.warn, found.words) == (False, True, words)


def test_a_push_that_broke_off_is_incomplete_until_the_next_of_its_kind(ledger: Ledger, opened: Any) -> None:
    pushed(ledger, NOW - HOUR, state=PushState.INCOMPLETE, outcome={"error": "TryAgain: 503"})
    found = evidence.receipts_complete(opened, now=NOW)
    assert (found.passed, found.facts["mc/incomplete"]) == (False, ["catalog: TryAgain: 503"])
    pushed(ledger, NOW)
    assert evidence.receipts_complete(opened, now=NOW).passed


def test_a_push_at_work_is_no_failure_but_one_left_behind_is(ledger: Ledger, opened: Any) -> None:
    pushed(ledger, NOW, kind=PushKind.LINEAGE, state=PushState.RUNNING)
    assert evidence.receipts_complete(opened, now=NOW + timedelta(minutes=30)).passed
    found = evidence.receipts_complete(opened, now=NOW + timedelta(hours=2))
    assert (found.passed, found.facts["mc/incomplete"]) == (False, ["lineage: it broke off"])


def test_refused_events_are_named(ledger: Ledger, opened: Any) -> None:
    pushed(ledger, NOW, outcome={"set_aside": [{"feed": "METADATA", "name": "shop.raw.odd", "reason": "400"}]})
    found = evidence.receipts_complete(opened, now=NOW)
    assert (found.passed, found.facts["mc/set_aside"]) == (False, ["shop.raw.odd: 400"])


def test_drift_is_told_with_its_columns(ledger: Ledger, opened: Any) -> None:
    change = {
        "ref": {"database": "shop", "schema": "raw", "name": "orders"},
        "change": "changed",
        "columns_added": ["coupon"],
        "columns_removed": ["code"],
        "columns_retyped": ["amount"],
    }
    pushed(ledger, NOW, outcome={"changes": [change], "counts": {"changes": 1}})
    found = evidence.schema_drift(opened, now=NOW)
    assert (found.passed, found.warn) == (False, True)
    assert found.facts["mc/changes"] == ["shop.raw.orders changed +coupon -code ~amount"]


def test_without_a_key_to_ask_with_verification_says_which(opened: Any) -> None:
    with pytest.raises(FixConfiguration, match="MCD_ID and MCD_TOKEN"):
        evidence.verified(opened, now=NOW)


def test_a_question_that_cannot_be_answered_is_a_failed_check_not_a_failed_run(build, instance) -> None:
    result = build().resolve_job_def("monte_carlo_shop_verify_push").execute_in_process(instance=instance)
    (found,) = result.get_asset_check_evaluations()
    assert (result.success, found.passed, found.severity) == (True, False, dg.AssetCheckSeverity.WARN)
    assert "MCD_ID" in (found.description or "")
