"""Who holds a push, and who may take it over."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import pytest

from mc_push_dagster.errors import PushInProgress
from mc_push_dagster.ledger import Ledger, lease
from mc_push_dagster_tests.ledger.samples import NOW, UUID, batch, begin


def test_a_lease_has_one_holder_until_it_is_released(ledger: Ledger) -> None:
    held = ledger.take_lease("push p", NOW)
    assert held is not None
    assert ledger.take_lease("push p", NOW) is None
    assert ledger.take_lease("push other", NOW) is not None
    held.release()
    assert ledger.take_lease("push p", NOW) is not None


def test_an_expired_lease_is_taken_and_its_holder_is_told(ledger: Ledger) -> None:
    first = ledger.take_lease("push p", NOW)
    assert first is not None
    first.renew(NOW + timedelta(minutes=2))
    assert ledger.take_lease("push p", NOW + timedelta(minutes=4)) is None, "the renewal counts"
    assert ledger.take_lease("push p", NOW + timedelta(minutes=6)) is not None
    with pytest.raises(PushInProgress, match="took over push p"):
        first.renew(NOW + timedelta(minutes=6))
    first.release()
    assert ledger.take_lease("push p", NOW + timedelta(minutes=6)) is None, "a lost lease cannot be released"


def test_the_lease_of_a_process_that_was_killed_is_taken_at_once(ledger: Ledger, url: str) -> None:
    code = (
        "import os, sys, signal; from datetime import datetime; from mc_push_dagster.ledger import Ledger;"
        "assert Ledger(sys.argv[1]).take_lease('push p', datetime.fromisoformat(sys.argv[2]));"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, url, NOW.isoformat()], check=False)
    assert done.returncode == -9
    assert ledger.take_lease("push p", NOW) is not None


def test_the_lease_of_a_living_process_is_left_alone(ledger: Ledger, url: str) -> None:
    code = (
        "import sys; from datetime import datetime; from mc_push_dagster.ledger import Ledger;"
        "assert Ledger(sys.argv[1]).take_lease('push p', datetime.fromisoformat(sys.argv[2]));"
        "print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, url, NOW.isoformat()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None and holder.stdout is not None  # noqa: PT018
        assert holder.stdout.readline() == "held\n"
        assert ledger.take_lease("push p", NOW) is None
        holder.stdin.close()
        holder.wait(timeout=30)
    assert ledger.take_lease("push p", NOW) is not None


def test_nobody_is_thought_dead_who_may_live() -> None:
    mine = lease.process_identity()
    host, pid, start = mine.split("|")
    assert not lease.is_dead(f"{mine}|nonce")
    assert not lease.is_dead(f"other{host}|{pid}|{start}|nonce"), "another machine's processes cannot be seen"
    assert lease.is_dead(f"{host}|{2**22 + 1}|{start}|nonce"), "above the highest pid"
    if os.path.exists("/proc/self/stat"):
        assert lease.is_dead(f"{host}|{pid}|{int(start) - 1}|nonce"), "the same pid, used again"


def test_who_lost_the_lease_sends_no_more(ledger: Ledger) -> None:
    begin(ledger, "p")
    record = ledger.add_batch("p", UUID, batch())
    held = ledger.take_lease("push p", NOW)
    assert held is not None
    ledger.begin_send("p", record.seq, held)
    assert ledger.take_lease("push p", NOW + timedelta(hours=1)) is not None
    with pytest.raises(PushInProgress, match="took over push p"):
        ledger.begin_send("p", record.seq, held)
