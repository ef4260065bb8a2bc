"""The server as a process among others: shared data, crashes, ports, folders, and what it does not import."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from mc_push_dagster.errors import FixConfiguration, StorageFault
from mc_push_dagster.sandbox import Sandbox, serve

Build = dict[str, Any]
MC_PUSH = [sys.executable, "-c", "from mc_push_dagster.cli import main; main()"]


@contextmanager
def served(*arguments: str, cwd: Path | None = None) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """`mc-push sandbox` as a process, and the line it prints."""
    command = [*MC_PUSH, "sandbox", "--port", "0", "--json", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.stderr.read() if process.stderr else ""
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


def push(line: dict[str, Any], name: str) -> requests.Response:
    environment = line["environment"]
    body = {
        "event_type": "METADATA",
        "resource": {"uuid": line["resource_uuid"], "resource_type": "snowflake"},
        "events": [{"relational_asset": {"type": "TABLE", "metadata": {"name": name, "database": "d", "schema": "s"}}}],
    }
    headers = {"x-mcd-id": environment["MCD_INGEST_ID"], "x-mcd-token": environment["MCD_INGEST_TOKEN"]}
    return requests.post(f"{line['url']}/ingest/v1/metadata", json=body, headers=headers, timeout=10)


def test_two_processes_serve_the_same_data_keys_and_time(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    with served("--folder", str(folder)) as (_, one), serve(folder) as two:
        assert one["environment"]["MCD_INGEST_TOKEN"] == two.ingest_key.secret
        assert one["resource_uuid"] == two.resource_uuid
        assert push(one, "a").status_code == 202
        assert push(one | {"url": two.url}, "b").status_code == 202
        assert [e["relational_asset"]["metadata"]["name"] for e in two.events("metadata")] == ["a", "b"]
        requests.post(f"{one['url']}/sandbox/clock", json={"advance_seconds": 86400}, timeout=5)
        assert two.world.clock.shift() == timedelta(days=1)


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    with served("--folder", str(folder)) as (process, line):
        ids = [push(line, f"t{n}").json()["invocation_id"] for n in range(5)]
        process.send_signal(signal.SIGKILL)
        process.wait()
    with serve(folder) as box, box.world.store.read() as db:
        assert [r[0] for r in db.execute("SELECT id FROM invocation ORDER BY seq")] == ids
        assert db.execute("SELECT count(*) FROM asset").fetchone()[0] == 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_command_with_exit_code_0(tmp_path: Path, number: int) -> None:
    with served("--folder", str(tmp_path / "stopped")) as (process, line):
        process.send_signal(number)
        assert process.wait(10) == 0
        with pytest.raises(requests.ConnectionError):
            requests.get(line["url"], timeout=2)


def test_the_command_takes_a_fault_plan_and_prints_lines_to_copy(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text('[{"status": 418, "times": null}]', encoding="utf-8")
    command = [*MC_PUSH, "sandbox", "--port", "0", "--folder", str(tmp_path / "b"), "--faults", str(plan)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    try:
        assert process.stdout is not None
        said = ""
        while "MCD_RESOURCE_UUID=" not in said:
            said += process.stdout.readline()
        variables = dict(line[7:].split("=", 1) for line in said.splitlines() if line.startswith("export "))
        assert "NOT Monte Carlo" in said
        assert variables["MC_PUSH_API_ENDPOINT"] == f"{variables['MC_PUSH_INGEST_ENDPOINT']}/graphql"
        assert requests.post(variables["MC_PUSH_API_ENDPOINT"], json={}, timeout=5).status_code == 418
    finally:
        process.terminate()
        process.communicate(timeout=10)


@pytest.mark.parametrize("plan", ["{", "no-such-file.json"])
def test_a_wrong_fault_plan_is_a_configuration_error(tmp_path: Path, plan: str) -> None:
    command = [*MC_PUSH, "sandbox", "--port", "0", "--folder", str(tmp_path), "--faults", plan]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: fault plan")


def test_a_taken_port_is_said_in_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(FixConfiguration, match=f"port {port}"), serve(tmp_path, port=port):
            pass


def test_a_folder_that_cannot_be_made_is_a_storage_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFault, match="cannot keep its data"), serve(tmp_path / "file" / "below"):
        pass


def test_a_file_of_another_version_is_a_storage_fault(tmp_path: Path) -> None:
    with serve(tmp_path) as box, box.world.store.read() as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageFault, match="another version"), serve(tmp_path):
        pass


def test_only_the_own_machine_reaches_it(box: Sandbox) -> None:
    port = int(box.url.rsplit(":", 1)[1])
    others = {a[4][0] for a in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in others:
        with pytest.raises(OSError), socket.create_connection((address, port), timeout=1):
            pass
    assert requests.get(f"http://localhost:{port}/", timeout=5).status_code == 200


def test_many_clients_at_once_lose_nothing(wire: Any, builders: Build) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: wire.metadata(builders["asset"](f"t{n}")), range(80)))
    assert {a.status_code for a in answers} == {202}
    ids = {a.json()["invocation_id"] for a in answers}
    assert len(ids) == 80
    assert {r.invocation_id for r in wire.box.requests()} == ids
    with wire.box.world.store.read() as db:
        assert db.execute("SELECT count(*) FROM asset").fetchone()[0] == 80


def test_old_bodies_are_let_go(tmp_path: Path, wire: Any, builders: Build) -> None:
    with serve(tmp_path / "small", keep_bodies=2) as box:
        for n in range(4):
            type(wire)(box).metadata(builders["asset"](f"t{n}"))
        assert [r.body is None for r in box.requests()] == [True, True, False, False]


def test_the_keys_are_readable_by_their_owner_only_and_never_shown(box: Sandbox, wire: Any, builders: Build) -> None:
    wire.metadata(builders["asset"]("a"))
    assert box.world.store.path.stat().st_mode & 0o077 == 0
    pages = "".join(requests.get(f"{box.url}{p}", timeout=5).text for p in ("/", "/requests", "/request?seq=1"))
    for secret in (box.ingest_key.secret, box.api_key.secret):
        assert secret not in pages
        assert secret not in repr(box)
        assert secret not in repr(box.ingest_key)


def test_the_server_imports_neither_the_sdk_nor_dagster_nor_pandas(tmp_path: Path) -> None:
    program = (
        "import sys, requests; from mc_push_dagster.sandbox import serve\n"
        f"with serve(__import__('pathlib').Path({str(tmp_path / 'lean')!r})) as box:\n"
        "    requests.get(box.url, timeout=5); requests.post(box.api_endpoint, json={}, timeout=5)\n"
        "print([m for m in ('pycarlo', 'dagster', 'pandas', 'duckdb', 'sqlglot', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
