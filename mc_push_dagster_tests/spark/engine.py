"""Starts the real Spark Thrift Server once a process, whoever asks; it ends with the process."""

from __future__ import annotations

import atexit
import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ENGINE_VARIABLE = "MC_PUSH_SPARK_PYTHON"
"""An interpreter that has pyspark, to test another Spark than the one installed here, e.g. 4.x."""
HTTP_PATH = "data-plane/dp1/lakehouse/lh1"
"""The path that IOMETE's own client posts to."""
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Engine:
    """Where the server listens and what it is."""

    folder: Path
    binary_port: int
    http_port: int
    spark: str
    iceberg: bool
    app_id: str
    ask: Callable[[str], dict[str, Any]]
    sessions: dict[str, Any] = field(default_factory=dict)

    def hive(self, sql: str) -> None:
        """Run a statement by Hive's own driver, past Spark, in the same metastore."""
        answer = self.ask(sql)
        assert "error" not in answer, answer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/{HTTP_PATH}"

    @property
    def events(self) -> Path:
        return self.folder / "events"

    @property
    def major(self) -> int:
        return int(self.spark.split(".")[0])

    def run(self, *statements: str, user: str = "etl") -> list[tuple[Any, ...]]:
        """Run statements as `user` by plain pyhive and return the rows of the last one.

        A user keeps one session, because opening one takes Spark most of a second: not for two threads at once.
        """
        rows: list[tuple[Any, ...]] = []
        with closing(self._session(user).cursor()) as cursor:
            for sql in statements:
                cursor.execute(sql)
                try:
                    rows = cursor.fetchall()
                except TypeError:  # pyhive on a statement without rows
                    rows = []
        return rows

    def _session(self, user: str) -> Any:
        from pyhive import hive

        if user not in self.sessions:
            self.sessions[user] = hive.connect("127.0.0.1", self.binary_port, username=user)
        return self.sessions[user]

    def close(self) -> None:
        """Close the sessions of all users."""
        while self.sessions:
            self.sessions.popitem()[1].close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@cache
def running() -> Engine:
    """The server of this process; the first call takes four seconds or so.

    Needs the extra `spark-engine`, or another interpreter's pyspark named by MC_PUSH_SPARK_PYTHON.
    """
    if os.environ.get(ENGINE_VARIABLE) is None:
        pytest.importorskip("pyspark", reason="needs the extra spark-engine (pyspark)")
    ports = free_port(), free_port()
    python = os.environ.get(ENGINE_VARIABLE)
    folder, info, ask = launch("server.py", *map(str, ports), HTTP_PATH, python=python)
    engine = Engine(
        folder=folder,
        binary_port=ports[0],
        http_port=ports[1],
        spark=info["spark"],
        iceberg=info["iceberg"],
        app_id=info["app_id"],
        ask=ask,
    )
    atexit.register(engine.close)  # before the server is stopped: the last registered goes first
    return engine


@cache
def running_hive() -> tuple[int, Path]:
    """Port and folder of the Hive 2.3.9 driver behind Thrift (binary, NOSASL)."""
    pytest.importorskip("pyspark", reason="needs the extra spark-engine (pyspark, which holds Hive's driver)")
    port = free_port()
    folder, _, _ = launch("hive_server.py", str(port))
    return port, folder


def launch(
    script: str, *arguments: str, python: str | None = None
) -> tuple[Path, dict[str, Any], Callable[[str], dict[str, Any]]]:
    """Start a server script in a folder of its own, wait for its line of JSON, and give a way to ask it more."""
    home = tempfile.TemporaryDirectory(prefix="mc-push-spark-", ignore_cleanup_errors=True)
    folder = Path(home.name)
    log = folder / "server.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [python or sys.executable, str(HERE / script), str(folder), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            text=True,
        )

    def stop() -> None:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        home.cleanup()

    atexit.register(stop)
    lines: queue.Queue[str] = queue.Queue()

    def pump() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=pump, daemon=True).start()

    def answer() -> dict[str, Any]:
        while line := lines.get(timeout=120):
            if line.startswith("{"):
                return json.loads(line)
        raise RuntimeError(f"{process.args} ended: {log.read_text(errors='replace')[-3000:]}")

    def ask(line: str) -> dict[str, Any]:
        assert process.stdin is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return answer()

    return folder, answer(), ask
