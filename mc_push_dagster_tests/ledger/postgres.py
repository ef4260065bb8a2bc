"""A PostgreSQL server of our own for tests, where the machine has one installed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def why_not() -> str | None:
    """What is missing for a server, or None."""
    if not PLACES and shutil.which("initdb") is None:
        return "PostgreSQL's server is not installed (apt-get install postgresql)"
    if os.geteuid() == 0 and not _has_user("postgres"):
        return "PostgreSQL does not run as root, and there is no user `postgres`"
    return None


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run a server on a free loopback port and yield its URL; its data in `folder` is gone afterwards."""
    binaries = PLACES[0] if PLACES else Path(str(shutil.which("initdb"))).parent
    data = folder / "data"
    user = "postgres" if os.geteuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
        for parent in folder.parents[:3]:  # pytest's folders are closed to others
            if parent.stat().st_uid == os.geteuid() and str(parent).startswith("/tmp/"):
                parent.chmod(parent.stat().st_mode | 0o011)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    initdb = [str(binaries / "initdb"), "-D", str(data), "-U", "ledger", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(initdb, check=True, user=user, capture_output=True, cwd=folder, timeout=60)
    settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off"}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen(
            [str(binaries / "postgres"), "-D", str(data), *options], user=user, stdout=log, stderr=log, cwd=folder
        ) as process,
    ):
        try:
            _wait_until_it_answers(port, process, folder / "server.log")
            yield f"postgresql://ledger@127.0.0.1:{port}/postgres"
        finally:
            process.send_signal(signal.SIGQUIT)  # immediate shutdown: nothing of it is kept


def _wait_until_it_answers(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    for _ in range(300):
        try:
            psycopg.connect(host="127.0.0.1", port=port, user="ledger", dbname="postgres").close()
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the server did not answer: {log.read_text()}")


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
