"""One real Spark Thrift Server a test session, on loopback; every test takes databases of its own."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ENGINE_VARIABLE = "MC_PUSH_SPARK_PYTHON"
"""An interpreter that has pyspark, to test another Spark than the one installed here, e.g. 4.x."""
HTTP_PATH = "data-plane/dp1/lakehouse/lh1"
"""The path that IOMETE's own client posts to."""


@dataclass(frozen=True)
class Engine:
    """Where the server listens and what it is."""

    folder: Path
    binary_port: int
    http_port: int
    spark: str
    iceberg: bool
    app_id: str

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
        """Run statements as `user` by plain pyhive and return the rows of the last one."""
        from pyhive import hive

        rows: list[tuple[Any, ...]] = []
        connection = hive.connect("127.0.0.1", self.binary_port, username=user)
        try:
            cursor = connection.cursor()
            for sql in statements:
                cursor.execute(sql)
                try:
                    rows = cursor.fetchall()
                except TypeError:  # pyhive on a statement without rows
                    rows = []
        finally:
            connection.close()
        return rows


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _ready(process: subprocess.Popen[str], log: Path) -> dict[str, Any]:
    lines: queue.Queue[str] = queue.Queue()

    def pump() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=pump, daemon=True).start()
    while line := lines.get(timeout=120):
        if line.startswith("{"):
            return json.loads(line)
    raise RuntimeError(f"the Spark Thrift Server did not start: {log.read_text(errors='replace')[-3000:]}")


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The server; needs the extra `spark-engine`, or another interpreter's pyspark named by MC_PUSH_SPARK_PYTHON."""
    python = os.environ.get(ENGINE_VARIABLE)
    if python is None:
        pytest.importorskip("pyspark", reason="needs the extra spark-engine (pyspark)")
    folder = tmp_path_factory.mktemp("spark")
    ports = free_port(), free_port()
    log = folder / "server.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [python or sys.executable, str(Path(__file__).with_name("server.py")), str(folder), *map(str, ports), HTTP_PATH],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            text=True,
        )
        try:
            info = _ready(process, log)
            yield Engine(
                folder=folder,
                binary_port=ports[0],
                http_port=ports[1],
                spark=info["spark"],
                iceberg=info["iceberg"],
                app_id=info["app_id"],
            )
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


@pytest.fixture(scope="session")
def iceberg(engine: Engine) -> Engine:
    if not engine.iceberg:
        pytest.skip("needs the Iceberg jar for Spark 3.5 (package snowpark-connect-deps-iceberg)")
    return engine
