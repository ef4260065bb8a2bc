"""Full disks, odd folders, hostile environments and Ctrl-C: one sentence, and nothing is lost or left half-written."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from mc_push_dagster.sandbox import Sandbox, serve
from mc_push_dagster_tests.cli.conftest import PROGRAM, SECRET, SOMEWHERE, Command, contents, sent_to, sentence, written

# Disks


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB that is almost full."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    (folder / "ballast").write_bytes(b"x" * 900_000)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("command", [["push"], ["push", "--json"], ["demo"], ["doctor"], ["collect"]])
def test_a_full_home_is_said_in_a_sentence(
    mc_push: Command, small: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("MC_PUSH_HOME", str(small / "home"))
    before = set(small.rglob("*.duckdb"))
    outcome = mc_push(*command)
    assert outcome.code == 1
    assert str(small) in outcome.err
    assert "full" in outcome.err
    assert outcome.err.count("\n") == 1
    assert set(small.rglob("*.duckdb")) == before


def test_a_manifest_that_does_not_fit_is_not_left_half(mc_push: Command, small: Path, config: str) -> None:
    with duckdb.connect("shop.duckdb") as db:
        for n in range(300):
            db.execute(f"CREATE TABLE t{n} (id INTEGER)")
            db.execute(f"COMMENT ON TABLE t{n} IS '{'x' * 1000}'")
    outcome = mc_push("collect", "--config", config, "--to", str(small / "manifests"))
    assert outcome.code == 1
    assert "No space left" in sentence(outcome)
    assert contents(small).keys() == {"ballast"}


@pytest.mark.parametrize("place", ["ledger", "store"])
def test_a_full_disk_in_a_push_loses_nothing(
    mc_push: Command, box: Sandbox, resource: str, config: str, small: Path, tmp_path: Path, place: str
) -> None:
    with duckdb.connect("shop.duckdb") as db:
        for n in range(200):
            db.execute(f"CREATE TABLE t{n:03} (id INTEGER)")
            db.execute(f"COMMENT ON TABLE t{n:03} IS '{'x' * 1000}'")
    where = {"ledger": f"sqlite:///{small}/ledger.sqlite", "store": str(small / "outbox")}[place]
    name = written(tmp_path, **{place: where})
    outcome = mc_push("push", "--config", name, "--feed", "catalog")
    assert outcome.code == 1
    assert "full" in outcome.err or "No space left" in outcome.err
    (small / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small)], check=True)
    assert mc_push("push", "--config", name, "--feed", "catalog").code == 0
    names = [e["relational_asset"]["metadata"]["name"] for b in sent_to(box, resource) for e in b["events"]]
    assert len(set(names)) == 204


@pytest.mark.parametrize("command", ["push", "demo", "doctor", "collect", "verify", "sandbox"])
def test_a_home_that_cannot_be_written_is_said_in_a_sentence(
    mc_push: Command, monkeypatch: pytest.MonkeyPatch, command: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MC_PUSH_HOME", str(tmp_path / "file" / "home"))
    outcome = mc_push(command)
    assert outcome.code == 1
    assert re.search("cannot (be kept|keep)", sentence(outcome))
    assert str(tmp_path / "file") in outcome.err


@pytest.mark.parametrize("name", ["with space", "q?x=1", "100%20", "h#x", "quo'te", "[b]", "é😀"])
def test_a_home_of_any_name_holds_everything(
    mc_push: Command, resource: str, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("MC_PUSH_HOME", str(tmp_path / name))
    before = {p.name for p in tmp_path.iterdir()}
    assert mc_push("push", "--config", config).code == 0
    assert mc_push("verify", "--config", config).code == 0
    assert mc_push("doctor", "--config", config).code == 1
    assert {p.name for p in tmp_path.iterdir()} - before == {name}
    assert {p.name for p in (tmp_path / name).iterdir()} >= {"ledger.sqlite", "outbox"}


def test_the_demo_says_that_duckdb_takes_no_question_mark(
    mc_push: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MC_PUSH_HOME", str(tmp_path / "what?"))
    outcome = mc_push("demo")
    assert outcome.code == 2
    assert "`?` in its name" in sentence(outcome)


@pytest.mark.slow
def test_the_demo_works_where_nothing_is_utf8_and_keys_proxies_and_profiles_are_hostile(tmp_path: Path) -> None:
    hostile = {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "TZ": "Pacific/Kiritimati",
        "HTTPS_PROXY": "socks5://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "REQUESTS_CA_BUNDLE": "/nowhere",
        "MCD_INGEST_ID": "real",
        "MCD_INGEST_TOKEN": SECRET,
        "MCD_RESOURCE_UUID": SOMEWHERE,
        "MCD_API_ENDPOINT": "https://api.getmontecarlo.com/graphql",
    }
    done = subprocess.run([*PROGRAM, "demo"], capture_output=True, env=os.environ | hostile, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    assert b"What the sandbox now shows" in done.stdout
    assert SECRET.encode() not in done.stdout + done.stderr
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


# Ctrl-C


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def waiting(box: Sandbox, path: str, count: int) -> None:
    """Wait until `count` requests have come in."""
    end = time.monotonic() + 30
    while len(box.requests(path)) < count:
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("patience", [True, False])
def test_ctrl_c_in_a_push_loses_nothing(
    mc_push: Command, resource: str, box: Sandbox, config: str, tmp_path: Path, patience: bool
) -> None:
    """Once: what is under way is settled. Twice: at once; the next push finds out what arrived."""
    with duckdb.connect("shop.duckdb") as db:
        for n in range(60):
            db.execute(f"CREATE TABLE t{n:02} (id INTEGER)")
    name = written(tmp_path, delivery={"max_events": 8, "concurrency": 1})
    before = len(box.requests("metadata"))
    box.add_fault(path="metadata", kind="hang", seconds=3, skip=2, stored=True)
    process = started("push", "--config", name, "--feed", "catalog")
    waiting(box, "metadata", before + 2)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    if not patience:
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert patience or time.monotonic() - begun < 2
    assert process.returncode == 1
    assert out == ""
    first, last = filter(None, err.splitlines())
    assert "Ctrl-C again stops now" in first
    assert last.startswith("Stopped. What was done until now is kept")
    box.clear_faults()
    assert mc_push("push", "--config", name, "--feed", "catalog").code == 0
    names = [e["relational_asset"]["metadata"]["name"] for b in sent_to(box, resource) for e in b["events"]]
    assert len(set(names)) == 64
    assert len(names) - 64 in (0, 8), "but for the one body whose answer did not come"


def test_ctrl_c_ends_the_sandbox_in_order_and_its_data_is_served_again(tmp_path: Path) -> None:
    with started("sandbox", "--port", "0", "--folder", "box", "--json") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    with serve(tmp_path / "box") as again:
        assert again.resource_uuid == first["resource_uuid"]
