"""Of any number of pushes exactly one gets a table's hour."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

from mc_push_dagster.ledger import Claim, Ledger, PushedTable
from mc_push_dagster_tests.ledger.samples import HOUR, NOW, UUID, batch, begin, note, ref, snapshot

REFS = [ref(f"t{i}") for i in range(1_200)]


def test_a_table_hour_is_claimed_once_and_again_only_by_its_holder(ledger: Ledger) -> None:
    assert ledger.claim(UUID, REFS, hour=NOW, push_id="a") == frozenset(REFS)
    assert ledger.claim(UUID, REFS, hour=NOW + timedelta(minutes=49), push_id="b") == frozenset()
    assert ledger.claim(UUID, REFS[:3], hour=NOW, push_id="a") == frozenset(REFS[:3])
    assert ledger.claim(UUID, REFS[:3], hour=NOW + HOUR, push_id="b") == frozenset(REFS[:3])
    assert ledger.claim("another resource", REFS[:3], hour=NOW, push_id="b") == frozenset(REFS[:3])


def test_threads_that_claim_at_once_share_the_tables_out(ledger: Ledger) -> None:
    start = Barrier(6)

    def claim(number: int) -> frozenset[object]:
        start.wait()
        refs = REFS if number % 2 else list(reversed(REFS))
        return frozenset(ledger.claim(UUID, refs, hour=NOW, push_id=f"p{number}"))

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(claim, range(6)))
    assert Counter(r for each in won for r in each) == Counter(REFS)


def test_processes_that_claim_at_once_share_the_tables_out(ledger: Ledger, url: str) -> None:
    ledger.check()
    code = """
import sys
from datetime import datetime
from mc_push_dagster.ledger import Ledger
from mc_push_dagster.model import TableRef
ledger = Ledger(sys.argv[1])
refs = [TableRef(database="Shop", schema="main", name=f"t{i}") for i in range(1200)]
won = []
for i in range(0, 1200, 50):
    won += ledger.claim(sys.argv[3], refs[i:i + 50], hour=datetime.fromisoformat(sys.argv[4]), push_id=sys.argv[2])
print(*(ref.name for ref in won))
"""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, url, f"p{i}", UUID, NOW.isoformat()], stdout=subprocess.PIPE, text=True
        )
        for i in range(3)
    ]
    won = Counter(name for process in running for name in process.communicate(timeout=60)[0].split())
    assert won == Counter(ref.name for ref in REFS)


def test_only_what_did_not_arrive_is_given_back(ledger: Ledger) -> None:
    note(ledger, *(snapshot(r.name, "id") for r in REFS[:4]))
    begin(ledger, "a")
    record = ledger.add_batch("a", UUID, batch())
    ledger.claim(UUID, REFS[:4], hour=NOW, push_id="a")
    arrived = [PushedTable(ref=REFS[0], columns=None, digest=None, row_count=0)]
    ledger.record_metadata(UUID, arrived, push_id="a", seq=record.seq, hour=NOW, at=NOW)
    ledger.release(UUID, "a", keep=[REFS[1]])
    assert ledger.claimants(UUID, REFS[:4], hour=NOW) == {
        REFS[0]: Claim(push_id="a", settled=True),
        REFS[1]: Claim(push_id="a", settled=False),
    }
    assert ledger.claims(UUID, NOW) == {REFS[0]: "a", REFS[1]: "a"}
    assert ledger.claim(UUID, REFS[:4], hour=NOW, push_id="b") == frozenset(REFS[2:4])


def test_claims_of_past_hours_are_forgotten(ledger: Ledger) -> None:
    ledger.claim(UUID, REFS[:1], hour=NOW - 50 * HOUR, push_id="old")
    ledger.claim(UUID, REFS[:1], hour=NOW, push_id="new")
    ledger.forget_claims(NOW - 48 * HOUR)
    assert ledger.claimants(UUID, REFS[:1], hour=NOW - 50 * HOUR) == {}
    assert ledger.claimants(UUID, REFS[:1], hour=NOW) == {REFS[0]: Claim(push_id="new", settled=False)}
