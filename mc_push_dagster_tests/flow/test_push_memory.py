"""A push holds a few bodies in memory, whatever the size of what it pushes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_PUSH = """
import json, re, sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from mc_push_dagster.model import QueryRecord, TableColumns, Window
from mc_push_dagster_tests.flow.harness import NOON, Shop, config, desk, table

COUNT = int(sys.argv[2])
HOUR = Window.hour(NOON - timedelta(hours=1))

class Long(Shop):
    def queries(self, window: Window) -> Iterator[QueryRecord]:
        text = "SELECT " + ", ".join(f"column_{i}" for i in range(150))
        for i in range(COUNT if window == HOUR else 0):
            at = window.start + timedelta(hours=1) * i / COUNT
            yield QueryRecord(text=f"{text} FROM t WHERE x = {i}", started_at=at, ended_at=at, query_id=f"q{i}")

    def tables(self):
        for i in range(COUNT // 20):
            yield table(f"t{i:06d}", rows=i)

    def columns(self):
        for snapshot in self.tables():
            yield TableColumns(ref=snapshot.ref, columns=snapshot.columns)

class Taking:
    def send(self, feed, body):
        return "id"

at = desk(Path(sys.argv[1]), shop=Long(), gateway=Taking(), settings=config(concurrency=8))
sent = sum(sum(at.pusher.push_query_logs(HOUR).events.values()) for _ in range(2))
sent += sum(at.pusher.push_catalog().events.values())
# Not ru_maxrss: that begins at what the parent process held.
peak = int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
print(json.dumps({"sent": sent, "peak": peak}))
"""


def peak(folder: Path, count: int) -> float:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _PUSH, str(folder), str(count)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    answer = json.loads(done.stdout)
    assert answer["sent"] == count + count // 20
    return answer["peak"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_times_the_queries_and_tables_need_no_more_memory(tmp_path: Path) -> None:
    small, large = peak(tmp_path / "small", 20_000), peak(tmp_path / "large", 200_000)
    assert large < 160, "megabytes"
    assert large - small < 20
