"""An hour of 100,000 queries that another process serves: what a reader's memory grows by while they pass through."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mc_push_dagster.model import Window
from mc_push_dagster.warehouses.base import Warehouse

QUERIES = 100_000
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def measured(module: str) -> dict[str, float]:
    """Run a module that ends in `read_through`, in a process that holds nothing else, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", module],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        timeout=170,
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def read_through(serving: Callable[[Connection], None], opened: Callable[[Any], Warehouse]) -> None:
    """Read the hour and print how many queries came, how many differ, and the growth of memory in MB.

    `serving` runs in a process of its own: it fills a server, sends where that is, and waits for a word to end.
    `opened` makes the warehouse from what was sent.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serving, args=(theirs,), daemon=True)
    server.start()
    warehouse = opened(ours.recv())
    count, highest, first, distinct = 0, 0.0, 0.0, set()
    for record in warehouse.queries(Window(start=START, end=START + timedelta(hours=1))):
        count += 1
        distinct.add(hash(record.query_id))
        if count == 10_000:
            first = resident_mb()
        if count % 5000 == 0:
            highest = max(highest, resident_mb())
    ours.send("done")
    server.join(timeout=20)
    print(json.dumps({"queries": count, "distinct": len(distinct), "growth_mb": round(highest - first, 1)}))


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096 / 1e6
