"""Reads an hour of 100,000 queries from a server in another process, and prints what the reader's memory grew by."""

from __future__ import annotations

import json
import multiprocessing
import sys
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

QUERIES = 100_000
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def serving(pipe: Connection) -> None:
    from mc_push_dagster_tests.snowflake.server import serve

    with serve() as box:
        box.chunk_rows = 2000
        box.duck.execute(
            "INSERT INTO SNOWFLAKE.ACCOUNT_USAGE.QUERY_HISTORY BY NAME SELECT 'q' || i AS QUERY_ID,"
            " 'select ' || repeat('x', 2000) || i AS QUERY_TEXT, ?::TIMESTAMPTZ AS START_TIME,"
            " ?::TIMESTAMPTZ + to_milliseconds(i * 36) AS END_TIME, 'ANNA' AS USER_NAME,"
            f" 'SUCCESS' AS EXECUTION_STATUS FROM range({QUERIES}) r(i)",
            [START, START],
        )
        pipe.send(box.port)
        pipe.recv()


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096 / 1e6


def main() -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serving, args=(theirs,), daemon=True)
    server.start()
    port = ours.recv()

    from mc_push_dagster.model import Window
    from mc_push_dagster_tests.snowflake.rows import opened
    from mc_push_dagster_tests.snowflake.server import Snowflake

    warehouse = opened(Snowflake(port=port), timeout_seconds=120)
    count, highest, first, distinct = 0, 0.0, 0.0, set()
    for record in warehouse.queries(Window(start=START, end=START + timedelta(hours=1))):
        count += 1
        distinct.add(hash(record.query_id))
        if count == 5000:
            first = resident_mb()
        if count % 5000 == 0:
            highest = max(highest, resident_mb())
    ours.send("done")
    server.join(timeout=20)
    print(json.dumps({"queries": count, "distinct": len(distinct), "growth_mb": round(highest - first, 1)}))


if __name__ == "__main__":
    main()
