"""Bodies survive; what is damaged is never sent; old ones make room."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from mc_push_dagster.errors import FixConfiguration, StorageFault
from mc_push_dagster.flow.outbox import BodyLost, Outbox
from mc_push_dagster.ledger import Ledger, NewBatch, PushKind, PushState
from mc_push_dagster.model import Feed
from mc_push_dagster_tests.flow.harness import NOON, TARGET


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")


@pytest.fixture(params=["folder", "file url", "fsspec url"])
def outbox(request: pytest.FixtureRequest, tmp_path: Path, ledger: Ledger) -> Outbox:
    urls = {
        "folder": str(tmp_path / "store"),
        "file url": (tmp_path / "store").as_uri(),
        "fsspec url": f"memory://store-{uuid4().hex}",
    }
    return Outbox(urls[request.param], ledger)


def test_a_body_is_read_back_as_it_was_written(outbox: Outbox) -> None:
    body = os.urandom(100_000)
    name = outbox.put("p", body)
    assert outbox.put("p", body) == name
    assert outbox.get("p", name) == body
    assert "can be written" in outbox.check()
    assert "manifest.json" in outbox.write_manifest("p", {"counts": {"tables": 1}})


def test_a_body_that_is_gone_or_damaged_is_lost(outbox: Outbox) -> None:
    name = outbox.put("p", b"whole")
    with pytest.raises(BodyLost, match="gone"):
        outbox.get("p", "0" * 64)
    outbox._folder.write(f"p/{name}.json", b"who")
    with pytest.raises(BodyLost, match="damaged"):
        outbox.get("p", name)


def test_half_a_body_never_stands_under_its_name(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(str(tmp_path / "store"), ledger)

    def no_space(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StorageFault, match="No space left on device; free space"):
        outbox.put("p", b"x" * 1000)
    assert list((tmp_path / "store" / "p").iterdir()) == []


def test_a_full_disk_is_said_in_one_sentence(tmp_path: Path, ledger: Ledger) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    try:
        outbox = Outbox(str(folder), ledger)
        whole = outbox.put("p", b"a" * 10_000)
        with pytest.raises(StorageFault, match=f"the outbox {folder} cannot be written: No space left"):
            outbox.put("p", b"b" * 100_000)
        assert outbox.get("p", whole) == b"a" * 10_000
        assert len(list((folder / "p").iterdir())) == 1, "nothing half-written is left"
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_url_that_cannot_serve_is_refused(ledger: Ledger) -> None:
    with pytest.raises(FixConfiguration, match="the outbox nosuch://x cannot be used"):
        Outbox("nosuch://x", ledger)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, ledger: Ledger) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFault, match="cannot be written: Not a directory"):
        Outbox(str(tmp_path / "file" / "store"), ledger).check()


def finished(ledger: Ledger, outbox: Outbox, push_id: str, *, days_ago: int, state: PushState) -> None:
    at = NOON - timedelta(days=days_ago)
    ledger.begin_push(push_id, kind=PushKind.CATALOG, warehouse="shop", target=TARGET, hour=at, started_at=at)
    body = push_id.encode() * 100
    new = NewBatch(feed=Feed.METADATA, sha256=outbox.put(push_id, body), size=len(body), events=1)
    ledger.add_batch(push_id, TARGET.resource_uuid, new)
    ledger.finish_push(push_id, state=state, finished_at=at, outcome={})


@pytest.mark.parametrize(
    ("keep_bytes", "kept"),
    [(10_000, ["b", "c", "d"]), (300, ["b", "d"]), (0, ["b"])],
    ids=["a week", "what there is room for", "nothing"],
)
def test_bodies_that_arrived_make_room_and_others_never_do(
    outbox: Outbox, ledger: Ledger, keep_bytes: int, kept: list[str]
) -> None:
    for push_id, days, state in (
        ("a", 8, PushState.COMPLETE),
        ("b", 9, PushState.INCOMPLETE),
        ("c", 2, PushState.SUPERSEDED),
        ("d", 1, PushState.COMPLETE),
    ):
        finished(ledger, outbox, push_id * 3, days_ago=days, state=state)
    outbox._keep_bytes = keep_bytes
    removed = outbox.tidy(NOON)

    def there(push_id: str) -> bool:
        try:
            outbox.get(push_id * 3, ledger.batches(push_id * 3)[0].sha256)
        except BodyLost:
            return False
        return True

    assert [push_id for push_id in "abcd" if there(push_id)] == kept
    assert removed == 300 * (4 - len(kept))
    assert outbox.tidy(NOON) == 0
