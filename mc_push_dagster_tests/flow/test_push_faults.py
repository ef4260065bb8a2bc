"""A bad night over real HTTP: every answer the gateway can give, once and for ever, and disks that fill."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from mc_push_dagster.config import MonteCarloConfig
from mc_push_dagster.errors import FixAccess, PushError, PushIncomplete, StorageFault, TryAgain
from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster.gateway.ingest import IngestGateway
from mc_push_dagster.ledger import BatchState
from mc_push_dagster.model import Feed, Target
from mc_push_dagster.sandbox import Sandbox, serve
from mc_push_dagster_tests.flow.harness import Desk, Recorder, Shop, assets, config, desk, table

TABLES = 12


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with serve() as running:
        yield running


@pytest.fixture
def gateway(box: Sandbox, request: pytest.FixtureRequest) -> Iterator[IngestGateway]:
    """Patient, so that a busy machine is not taken for a fault; hasty where the server is to hang."""
    connection = Connection.from_environment(MonteCarloConfig(), box.environment())
    assert connection is not None
    opened = IngestGateway(connection, timeout_seconds=1.0 if "hang" in request.node.name else 20.0)
    yield opened
    opened.close()


@pytest.fixture
def resource(box: Sandbox, request: pytest.FixtureRequest) -> str:
    box.clear_faults()
    return box.add_warehouse(request.node.name, "DATA_LAKE")


@pytest.fixture
def at(tmp_path: Path, gateway: IngestGateway, resource: str) -> Desk:
    return station(tmp_path, gateway, resource)


def station(folder: Path, gateway: Any, resource: str, **delivery: Any) -> Desk:
    shop = Shop(*(table(f"t{i:02d}", rows=i) for i in range(TABLES)))
    target = Target(resource_uuid=resource, resource_type="data-lake", log_type="hive-s3")
    settings = config(**({"max_events": 4, "deadline_seconds": 20} | delivery))
    return desk(folder, shop=shop, gateway=gateway, target=target, settings=settings)


def arrived(box: Sandbox, resource: str) -> Counter[str]:
    """How often each table was stored."""
    found: Counter[str] = Counter()
    for request in box.requests("metadata"):
        if request.invocation_id is not None and request.body is not None:
            body = orjson.loads(request.body)
            if body["resource"]["uuid"] == resource:
                found.update(assets(body["events"]))
    return found


ALL_ONCE = {f"t{i:02d}": 1 for i in range(TABLES)}

PASSING: list[dict[str, Any]] = [
    *({"status": status} for status in (408, 429, 500, 502, 503, 504)),
    {"status": 429, "retry_after": "3"},
    {"status": 503, "before_body": True},
    {"kind": "html"},
    {"kind": "empty"},
    {"kind": "hang", "seconds": 3},
    {"kind": "reset"},
    {"kind": "reset", "before_body": True},
    {"kind": "close"},
]


def _name(fault: dict[str, Any]) -> str:
    return "-".join(f"{value}" if key in ("kind", "status") else f"{key}" for key, value in fault.items())


@pytest.mark.parametrize("fault", PASSING, ids=_name)
def test_a_fault_that_passes_costs_a_retry_and_nothing_else(
    box: Sandbox, at: Desk, resource: str, fault: dict[str, Any]
) -> None:
    box.add_fault(**fault, path="metadata", skip=1)
    report = at.pusher.push_catalog()
    assert arrived(box, resource) == ALL_ONCE
    assert report.complete
    assert len(report.invocation_ids[Feed.METADATA]) == 3
    waited = sum(at.clock.slept)
    assert waited >= (3 if "retry_after" in fault else 0.25)
    assert waited < 10


@pytest.mark.parametrize("kind", ["hang", "reset", "html"])
def test_what_was_stored_without_an_answer_goes_out_again_and_is_said(
    box: Sandbox, at: Desk, resource: str, kind: str
) -> None:
    box.add_fault(kind=kind, stored=True, path="metadata", skip=1, seconds=3)
    report = at.pusher.push_catalog()
    assert report.maybe_twice == 1
    counted = arrived(box, resource)
    assert counted.keys() == ALL_ONCE.keys()
    assert Counter(counted.values())[2] in (0, 4), "one body may stand twice, no more"


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_costs_one_attempt_and_no_wait(
    box: Sandbox, at: Desk, resource: str, status: int
) -> None:
    before = len(box.requests("metadata"))
    box.add_fault(status=status, path="metadata", times=None)
    begun = time.monotonic()
    with pytest.raises(FixAccess):
        at.pusher.push_catalog()
    assert time.monotonic() - begun < 2, "0.1 s on an idle machine"
    assert at.clock.slept == []
    assert len(box.requests("metadata")) == before + 1
    box.clear_faults()
    at.pusher.push_catalog()
    assert arrived(box, resource) == ALL_ONCE


LASTING: list[dict[str, Any]] = [
    {"status": 429, "retry_after": "1"},
    {"status": 503},
    {"kind": "html"},
    {"kind": "hang", "seconds": 3},
    {"kind": "reset"},
]


@pytest.mark.parametrize("fault", LASTING, ids=_name)
def test_a_fault_that_stays_ends_the_push_and_the_next_one_completes_it(
    box: Sandbox, tmp_path: Path, gateway: IngestGateway, resource: str, fault: dict[str, Any]
) -> None:
    at = station(tmp_path, gateway, resource, deadline_seconds=2.5, concurrency=2)
    box.add_fault(**fault, path="metadata", times=None, skip=1)
    with pytest.raises(PushIncomplete) as caught:
        at.pusher.push_catalog()
    assert isinstance(caught.value.__cause__, TryAgain)
    assert len(caught.value.invocation_ids[Feed.METADATA]) == 1
    box.clear_faults()
    report = at.pusher.push_catalog()
    assert arrived(box, resource) == ALL_ONCE
    assert report.complete


def test_a_rejection_of_everything_is_told_with_the_gateways_words(box: Sandbox, at: Desk) -> None:
    box.add_fault(status=400, path="metadata", times=None, body='{"message": "no such field"}')
    with pytest.raises(PushError, match="no such field"):
        at.pusher.push_catalog()


def test_one_event_that_the_real_rules_refuse_is_set_aside_and_the_rest_arrives(
    box: Sandbox, at: Desk, resource: str
) -> None:
    box.add_fault(status=400, path="metadata", times=None, containing='"t07"')
    report = at.pusher.push_catalog()
    assert [item.name for item in report.set_aside] == ["shop:main.t07"]
    assert arrived(box, resource) == {name: 1 for name in ALL_ONCE if name != "t07"}


def test_a_413_splits(box: Sandbox, at: Desk, resource: str) -> None:
    box.add_fault(status=413, path="metadata", times=3)
    report = at.pusher.push_catalog()
    assert arrived(box, resource) == ALL_ONCE
    assert report.requests > 3


def test_no_server_at_all_is_given_up_at_the_deadline(tmp_path: Path, resource: str, box: Sandbox) -> None:
    nowhere = box.environment() | {"MC_PUSH_INGEST_ENDPOINT": "http://127.0.0.1:9"}
    connection = Connection.from_environment(MonteCarloConfig(), nowhere)
    assert connection is not None
    at = station(tmp_path, IngestGateway(connection, timeout_seconds=1), resource, deadline_seconds=5)
    with pytest.raises(TryAgain):
        at.pusher.push_catalog()
    [push] = at.ledger.pushes()
    assert {record.state for record in at.ledger.batches(push.push_id)} == {BatchState.PENDING}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 kB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("what", ["outbox", "ledger"])
def test_a_disk_that_fills_midway_loses_nothing_and_no_id(tmp_path: Path, small: Path, what: str) -> None:
    from dataclasses import replace

    gateway = Recorder()
    (small / what if what == "ledger" else tmp_path / "ledger").mkdir()
    at = desk(
        tmp_path,
        shop=Shop(*(table(f"t{i:04d}", rows=i, description="x" * 2_000) for i in range(900))),
        gateway=gateway,
        settings=config(max_events=50, concurrency=1),
        url=f"sqlite:///{small / what / 'ledger.sqlite'}" if what == "ledger" else None,
    )
    if what == "outbox":
        from mc_push_dagster.flow.outbox import Outbox

        at = desk(tmp_path, shop=at.shop, gateway=gateway, settings=config(max_events=50, concurrency=1))
        at = replace(at, outbox=Outbox(str(small / "outbox"), at.ledger))
        at.pusher._kit = replace(at.pusher._kit, outbox=at.outbox)
    with pytest.raises((StorageFault, PushIncomplete)) as caught:
        at.pusher.push_catalog()
    assert "free" in str(caught.value) or "full" in str(caught.value)
    got = len(gateway.bodies)
    if got:
        assert isinstance(caught.value, PushIncomplete)
        assert len(caught.value.invocation_ids[Feed.METADATA]) == got, "every id is handed to the caller"
    subprocess.run(["mount", "-o", "remount,size=20m", str(small)], check=True)
    at.pusher.push_catalog()
    counted = Counter(assets(gateway.events(Feed.METADATA)))
    assert counted.keys() == {f"t{i:04d}" for i in range(900)}
    assert sum(counted.values()) - 900 in (0, 50), "but for one body whose receipt the full disk refused"


def test_a_ledger_that_cannot_be_written_stops_before_anything_is_sent(small: Path, tmp_path: Path) -> None:
    gateway = Recorder()
    url = f"sqlite:///{small / 'ledger.sqlite'}"
    at = desk(tmp_path, shop=Shop(table("a")), gateway=gateway, url=url)
    at.pusher.push_catalog()
    at.ledger.close()
    at.clock.advance(hours=1)
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    with pytest.raises(StorageFault, match="rights, or name another ledger"):
        at.pusher.push_catalog()
    assert gateway.calls == 1
    at.ledger.close()


_PROCESS = """
import os, sys
from pathlib import Path
from mc_push_dagster.config import MonteCarloConfig
from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster.gateway.ingest import IngestGateway
from mc_push_dagster.model import Target
from mc_push_dagster_tests.flow.harness import Shop, config, desk, table
connection = Connection.from_environment(MonteCarloConfig(), os.environ)
target = Target(resource_uuid=sys.argv[2], resource_type="data-lake", log_type="hive-s3")
shop = Shop(*(table(f"t{i:04d}", rows=i) for i in range(2000)))
folder = Path(sys.argv[1])
at = desk(folder, shop=shop, gateway=IngestGateway(connection), target=target, settings=config(max_events=100))
print("ready", flush=True)
sys.stdin.readline()
report = at.pusher.push_catalog()
print(report.held_back.tables if report.held_back else 0)
"""


def test_two_processes_that_share_the_ledger_send_each_table_once(box: Sandbox, resource: str, tmp_path: Path) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, str(tmp_path), resource],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | box.environment(),
            cwd=Path(__file__).parents[2],
        )
        for _ in range(2)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    outputs = [process.communicate("go\n", timeout=60)[0] for process in running if process.stdin]
    assert [process.returncode for process in running] == [0, 0]
    assert arrived(box, resource) == {f"t{i:04d}": 1 for i in range(2_000)}
    assert sum(map(int, outputs)) == 2_000
