"""What a user is told when the ledger cannot be used, and that it is durable when it can."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mc_push_dagster.errors import FixConfiguration, StorageFault
from mc_push_dagster.ledger import Ledger
from mc_push_dagster_tests.ledger.samples import NOW, begin, note, snapshot


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://user@host/x", "'mysql' is not supported"),
        ("not a url", "not understood"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("nonsense://x", "not supported"),
    ],
)
def test_a_url_that_cannot_serve_is_refused_with_one_that_can(url: str, words: str) -> None:
    with pytest.raises(FixConfiguration, match=words) as caught:
        Ledger(url)
    assert "sqlite" in str(caught.value).lower()


def test_a_password_is_never_shown() -> None:
    ledger = Ledger("postgresql://me:hunter2@127.0.0.1:1/none")
    with pytest.raises(StorageFault) as caught:
        ledger.check()
    assert "hunter2" not in f"{caught.value}{ledger!r}{ledger.url}"
    assert "127.0.0.1" in str(caught.value)


def test_opening_makes_the_folder_and_nothing_before_the_first_use(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "er" / "ledger.sqlite"
    ledger = Ledger(f"sqlite:///{file}")
    assert not ledger.exists()
    assert list(tmp_path.iterdir()) == []
    assert "can be written" in ledger.check()
    assert ledger.exists()
    with sqlite3.connect(file) as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert raw.execute("SELECT count(*) FROM mc_push_leases").fetchone() == (0,), "the check leaves nothing behind"
    raw.close()


def test_a_ledger_of_a_newer_version_is_left_alone(url: str) -> None:
    from mc_push_dagster.ledger import database as module

    with Ledger(url) as ledger:
        ledger.check()
        with ledger._database.write() as connection:
            connection.execute(module.t.schema_version.update().values(version=99))
    with Ledger(url) as ledger, pytest.raises(FixConfiguration, match=r"newer mc-push-dagster \(schema 99"):
        ledger.pushes()


def test_what_was_written_is_there_for_the_next_process(url: str) -> None:
    with Ledger(url) as ledger:
        begin(ledger, "p1")
    code = "import sys; from mc_push_dagster.ledger import Ledger; print(Ledger(sys.argv[1]).pushes()[0].push_id)"
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "p1"


def test_many_processes_may_open_a_new_ledger_at_once(url: str) -> None:
    code = "import sys; from mc_push_dagster.ledger import Ledger; print(Ledger(sys.argv[1]).check())"
    running = [
        subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "can be written" in out


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    file.write_bytes(b"this is a text, not a database" * 100)
    with pytest.raises(StorageFault, match="no SQLite database: move it away"):
        Ledger(f"sqlite:///{file}").check()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageFault, match="cannot be made"):
        Ledger(f"sqlite:///{tmp_path / 'file' / 'ledger.sqlite'}").check()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own, which can be filled or made read-only."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_in_one_sentence_and_harms_nothing(mounted: Path) -> None:
    with Ledger(f"sqlite:///{mounted / 'ledger.sqlite'}") as ledger:
        begin(ledger, "before")
        tables = [snapshot(f"a table with a rather long name {i}", "id") for i in range(20_000)]
        with pytest.raises(StorageFault, match=r"disk is full|disk failed or is full"):
            note(ledger, *tables)
        assert [push.push_id for push in ledger.pushes()] == ["before"], "what was recorded is still read"


def test_a_read_only_ledger_says_so_and_names_the_way_out(mounted: Path) -> None:
    url = f"sqlite:///{mounted / 'ledger.sqlite'}"
    with Ledger(url) as ledger:
        begin(ledger, "before")
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    with Ledger(url) as ledger, pytest.raises(StorageFault) as caught:
        begin(ledger, "after")
    assert "rights, or name another ledger" in str(caught.value)
    assert str(mounted) in str(caught.value)


def test_a_busy_neighbour_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    with Ledger(f"sqlite:///{file}") as ledger:
        ledger.check()
        code = (
            "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
            "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); time.sleep(1.5); c.execute('COMMIT')"
        )
        with subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True) as neighbour:
            assert neighbour.stdout is not None
            assert neighbour.stdout.readline() == "held\n"
            begin(ledger, "after")
        assert [push.push_id for push in ledger.pushes()] == ["after"]
        assert ledger.pushes()[0].started_at == NOW


def test_the_platform_has_what_the_rules_need() -> None:
    assert sqlite3.sqlite_version_info >= (3, 24), "INSERT ... ON CONFLICT needs SQLite 3.24"


def test_a_ledger_of_an_older_version_is_brought_up_to_date(url: str) -> None:
    import sqlalchemy as sa

    from mc_push_dagster.ledger import database as module

    with Ledger(url) as ledger:
        begin(ledger, "before")
        with ledger._database.write() as connection:  # as schema 1 was
            connection.execute(sa.text("ALTER TABLE mc_push_pushes DROP COLUMN outbox"))
            connection.execute(module.t.schema_version.update().values(version=1))
    with Ledger(url) as ledger:
        begin(ledger, "after")
        assert {push.push_id: push.outbox for push in ledger.pushes()} == {"before": None, "after": None}
        assert f"schema {len(module.MIGRATIONS)}" in ledger.check()
