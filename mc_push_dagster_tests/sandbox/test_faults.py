"""Faults over real HTTP: each kind, once and for ever, and what is stored all the same."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.sandbox import Fault, Sandbox, serve
from mc_push_dagster.sandbox.faults import FaultPlan, parse_faults

Build = dict[str, Any]


@pytest.mark.parametrize("status", [400, 401, 403, 408, 413, 429, 500, 502, 503, 504])
def test_a_status_strikes_once_and_then_no_more(shared: Any, builders: Build, status: int) -> None:
    shared.box.clear_faults()
    shared.box.add_fault(status=status, retry_after=2)
    struck = shared.metadata(builders["asset"]("a"))
    assert (struck.status_code, struck.headers["retry-after"]) == (status, "2.0")
    assert shared.metadata(builders["asset"]("a")).status_code == 202


def test_for_ever_is_for_ever_and_other_paths_stay_well(wire: Any, builders: Build) -> None:
    wire.box.add_fault(status=503, path="metadata", times=None)
    assert {wire.metadata(builders["asset"]("a")).status_code for _ in range(10)} == {503}
    assert wire.query_logs(builders["query"]("select 1")).status_code == 202
    wire.box.clear_faults()
    assert wire.metadata(builders["asset"]("a")).status_code == 202


def test_faults_strike_in_turn(wire: Any, builders: Build) -> None:
    wire.box.add_fault(status=429, times=2, skip=1)
    wire.box.add_fault(status=500, path="/ingest/*", skip=2)
    answers = [wire.metadata(builders["asset"]("a")).status_code for _ in range(5)]
    # The second fault counts only requests that the first lets pass.
    assert answers == [202, 429, 429, 202, 500]


def test_a_fault_can_pick_out_the_bodies_that_contain_a_text(wire: Any, builders: Build) -> None:
    wire.box.add_fault(status=500, containing="poison", times=None)
    assert wire.metadata(builders["asset"]("poison")).status_code == 500
    assert wire.metadata(builders["asset"]("a")).status_code == 202


def test_a_web_page_and_an_empty_answer_are_successes_without_an_invocation(wire: Any, builders: Build) -> None:
    wire.box.add_fault(kind="html")
    wire.box.add_fault(kind="empty")
    page = wire.metadata(builders["asset"]("a"))
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    empty = wire.metadata(builders["asset"]("a"))
    assert (empty.status_code, empty.json()) == (202, {})
    assert wire.box.events("metadata") == []


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("kind", ["reset", "close"])
def test_a_broken_connection_stores_only_if_told_to(wire: Any, builders: Build, kind: str, stored: bool) -> None:
    wire.box.add_fault(kind=kind, stored=stored)
    with pytest.raises(requests.ConnectionError) as caught:
        wire.metadata(builders["asset"]("a"))
    assert ("reset" in str(caught.value).lower()) == (kind == "reset")
    assert len(wire.box.events("metadata")) == stored
    [seen] = wire.box.requests()
    assert (seen.status, seen.invocation_id is not None) == (None, stored)
    assert seen.outcome.endswith(f"injected {kind}")


def test_a_reset_before_the_body_never_takes_it(wire: Any, builders: Build) -> None:
    wire.box.add_fault(kind="reset", before_body=True)
    with socket.create_connection(("127.0.0.1", int(wire.box.url.rsplit(":", 1)[1]))) as client:
        head = "POST /ingest/v1/metadata HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n"
        client.sendall(head.encode())
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    [seen] = wire.box.requests()
    assert seen.body is None


def test_accept_then_hang_is_the_duplicate_case(wire: Any, builders: Build) -> None:
    wire.box.add_fault(kind="hang", stored=True)
    key = wire.box.ingest_key
    body = {
        "event_type": "METADATA",
        "resource": wire.resource,
        "events": [{"relational_asset": builders["asset"]("a")}],
    }
    headers = {"x-mcd-id": key.id, "x-mcd-token": key.secret}
    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{wire.box.url}/ingest/v1/metadata", json=body, headers=headers, timeout=0.3)
    assert len(wire.box.events("metadata")) == 1


def test_a_hang_keeps_no_server_from_stopping(tmp_path: Path) -> None:
    with serve(tmp_path / "hanging", faults=[Fault(kind="hang")]) as box:
        client = socket.create_connection(("127.0.0.1", int(box.url.rsplit(":", 1)[1])))
        client.sendall(b"POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}")
        while not box.requests():
            time.sleep(0.01)
        begun = time.monotonic()
    assert time.monotonic() - begun < 3
    client.close()


def test_a_delay_answers_rightly_but_late(wire: Any, builders: Build) -> None:
    wire.box.add_fault(kind="delay", seconds=0.3)
    begun = time.monotonic()
    assert wire.metadata(builders["asset"]("a")).status_code == 202
    assert time.monotonic() - begun >= 0.3


def test_graphql_is_struck_too(wire: Any) -> None:
    wire.box.add_fault(path="graphql", status=504, containing="createIntegrationKey")
    wire.ask("{ getUser { id } }")
    with pytest.raises(requests.HTTPError, match="504"):
        wire.graphql('mutation { createIntegrationKey(description: "d", scope: Ingestion) { key { id } } }')


def test_other_processes_steer_faults_and_time_through_the_control_endpoint(
    box: Sandbox, wire: Any, builders: Build
) -> None:
    faults, clock = f"{box.url}/sandbox/faults", f"{box.url}/sandbox/clock"
    answer = requests.post(faults, json=[{"path": "metadata", "status": 429, "times": 2}], timeout=5)
    assert answer.json()["faults"][0]["left"] == 2
    assert wire.metadata(builders["asset"]("a")).status_code == 429
    assert requests.get(faults, timeout=5).json()["faults"][0]["left"] == 1
    assert requests.delete(faults, timeout=5).json() == {"faults": []}
    assert wire.metadata(builders["asset"]("a")).status_code == 202
    assert requests.post(faults, json={"kind": "explode"}, timeout=5).status_code == 400
    assert requests.post(faults, data="[]", headers={"content-type": "text/plain"}, timeout=5).status_code == 415

    before = box.now()
    moved = requests.post(clock, json={"advance_seconds": 3600}, timeout=5).json()
    assert moved["shift_seconds"] == 3600
    assert (box.now() - before).total_seconds() == 3600
    for wrong in ({"advance_seconds": -1}, {"advance_seconds": "x"}, {}, [], {"advance_seconds": 1e300}):
        assert requests.post(clock, json=wrong, timeout=5).status_code == 400


def test_a_plan_is_read_from_json_or_refused_in_one_sentence() -> None:
    assert parse_faults('{"status": 500}') == [Fault(status=500)]
    assert parse_faults(json.dumps([{"kind": "reset", "times": None}])) == [Fault(kind="reset", times=None)]
    for wrong in ("{", '[{"kind": "bang"}]', '[{"colour": "red"}]', '[{"times": 0}]', "3"):
        with pytest.raises(FixConfiguration, match="fault plan"):
            parse_faults(wrong)


def test_a_plan_says_what_is_left() -> None:
    plan = FaultPlan([Fault(skip=1, times=2), Fault(times=None, path="nowhere")])
    taken = [plan.take("/ingest/v1/metadata", b"") is not None for _ in range(4)]
    assert taken == [False, True, True, False]
    assert [f["left"] for f in plan.describe()] == [0, None]
