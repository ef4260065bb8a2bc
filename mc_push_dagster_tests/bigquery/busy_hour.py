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
    from mc_push_dagster_tests.bigquery.server import serve

    with serve() as box:
        box.engine.execute(
            'INSERT INTO "JOBS_BY_PROJECT" BY NAME SELECT \'shop-project\' AS "_project", \'us\' AS "_region",'
            " 'shop-project' AS project_id, 'q' || i AS job_id, 'QUERY' AS job_type, 'DONE' AS state,"
            " 'select ' || repeat('x', 2000) || i AS query, ?::TIMESTAMPTZ AS creation_time,"
            " ?::TIMESTAMPTZ + to_milliseconds(i * 36) AS end_time, 'anna@example.com' AS user_email"
            f" FROM range({QUERIES}) r(i)",
            [START, START],
        )
        pipe.send(box.url)
        pipe.recv()


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096 / 1e6


def main() -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serving, args=(theirs,), daemon=True)
    server.start()
    url = ours.recv()

    from mc_push_dagster.model import Scope, Window
    from mc_push_dagster.warehouses.bigquery import BigQuery, BigQuerySettings

    settings = BigQuerySettings(projects=("shop-project",), regions=("us",), api_endpoint=url, page_size=2000)
    warehouse = BigQuery.from_settings(settings, scope=Scope())
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


if __name__ == "__main__":
    main()
