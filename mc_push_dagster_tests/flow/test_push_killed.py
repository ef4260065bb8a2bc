"""kill -9 at each step between collecting and the last receipt: nothing is lost, nothing acknowledged is sent twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mc_push_dagster.ledger import Ledger, PushState
from mc_push_dagster.sandbox import Sandbox, serve

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")


Whole = tuple[Counter[str], dict[str, int]]
"""What arrives when nobody is killed, and how many steps of each kind it takes."""


@dataclass
class Bench:
    """A sandbox over HTTP, and a process that pushes to it and dies when it is told to."""

    box: Sandbox
    process: subprocess.Popen[str]

    def push(self, folder: Path, resource_uuid: str, kill: str | None = None) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        order = {"folder": str(folder), "resource_uuid": resource_uuid, "kill": kill}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer
        return answer

    def arrived(self, resource_uuid: str) -> list[tuple[str, list[str]]]:
        """Each accepted request of a resource: its invocation id and what is in it."""
        found = []
        for request in self.box.requests():
            if request.invocation_id is None or request.body is None:
                continue
            body = json.loads(request.body)
            if body["resource"]["uuid"] == resource_uuid:
                events = [f"{body['event_type']} {_name(event)}" for event in body["events"]]
                found.append((request.invocation_id, events))
        return found


def _name(event: dict[str, Any]) -> str:
    if "relational_asset" in event:
        return event["relational_asset"]["metadata"]["name"]
    return event["destination"]["name"] if "destination" in event else event["query_id"]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with serve() as box:
        command = [sys.executable, "-m", "mc_push_dagster_tests.flow.killed"]
        root = Path(__file__).parents[2]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env=os.environ | box.environment(),
        ) as process:
            yield Bench(box=box, process=process)
            assert process.stdin is not None
            process.stdin.close()


@pytest.fixture(scope="module")
def whole(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """What arrives, and how many steps it takes, when nobody is killed."""
    uuid = bench.box.add_warehouse("whole", "DATA_LAKE")
    answer = bench.push(tmp_path_factory.mktemp("whole"), uuid)
    events = Counter(event for _, events in bench.arrived(uuid) for event in events)
    assert set(events.values()) == {1}
    assert {event.split()[0] for event in events} >= {"METADATA", "LINEAGE", "QUERY_LOG"}
    return events, answer["steps"]


def killed_and_run_again(bench: Bench, folder: Path, kill: str, expected: Counter[str]) -> None:
    uuid = bench.box.add_warehouse(kill, "DATA_LAKE")
    assert bench.push(folder, uuid, kill)["killed"], f"{kill} was never reached"
    acknowledged: set[str] = set()
    if (folder / "ledger.sqlite").exists():
        with Ledger(f"sqlite:///{folder / 'ledger.sqlite'}") as ledger:
            acknowledged = {r.invocation_id for push in ledger.pushes() for r in ledger.receipts(push.push_id)}

    again = bench.push(folder, uuid)
    third = bench.push(folder, uuid)

    arrived = bench.arrived(uuid)
    counted = Counter(event for _, events in arrived for event in events)
    assert counted.keys() == expected.keys(), f"{kill}: lost {expected.keys() - counted.keys()}"
    twice = [events for _, events in arrived if any(counted[event] > 1 for event in events)]
    assert len(twice) == 2 * (1 if again["maybe_twice"] and twice else 0), f"{kill}: sent twice: {twice}"
    for invocation_id, events in arrived:
        if invocation_id in acknowledged:
            assert all(counted[event] == 1 for event in events), f"{kill}: acknowledged, and sent again: {events}"
    assert third["maybe_twice"] == 0
    with Ledger(f"sqlite:///{folder / 'ledger.sqlite'}") as ledger:
        assert {push.state for push in ledger.pushes()} <= {PushState.COMPLETE, PushState.SUPERSEDED}
        recorded = {r.invocation_id for push in ledger.pushes() for r in ledger.receipts(push.push_id)}
        ids = {invocation_id for invocation_id, _ in arrived}
        lost = ids - recorded
        assert len(lost) <= again["maybe_twice"], "only an id that died with its process is not on record"
        samples = Counter(str(sample.ref) for sample in ledger.samples(uuid))
        assert set(samples.values()) == {1}
        assert len(samples) == 7


def try_all(bench: Bench, folder: Path, whole: Whole, what: str, when: str, numbers: Iterable[int]) -> None:
    for number in numbers:
        place = folder / f"{what}-{when}-{number}"
        place.mkdir()
        killed_and_run_again(bench, place, f"{what}:{when}:{number}", whole[0])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_push_that_is_killed_around_a_request_is_completed(
    bench: Bench, whole: Whole, tmp_path: Path, when: str
) -> None:
    try_all(bench, tmp_path, whole, "send", when, (1, whole[1]["send"]))


def test_a_push_that_is_killed_around_a_body_or_a_transaction_is_completed(
    bench: Bench, whole: Whole, tmp_path: Path
) -> None:
    try_all(bench, tmp_path, whole, "put", "before", (2,))
    try_all(bench, tmp_path, whole, "commit", "before", (20,))
    try_all(bench, tmp_path, whole, "commit", "after", (33,))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_push_that_is_killed_at_any_of_many_steps_is_completed(
    bench: Bench, whole: Whole, tmp_path: Path, when: str
) -> None:
    # Every fourth transaction, to spare CI's minutes; a step of 1 tries them all in two and a half minutes.
    first = 1 if when == "before" else 3
    try_all(bench, tmp_path, whole, "commit", when, range(first, whole[1]["commit"] + 1, 4))
    try_all(bench, tmp_path, whole, "send", when, range(first, whole[1]["send"] + 1, 4))
    try_all(bench, tmp_path, whole, "put", when, range(first, whole[1]["put"] + 1, 4))
