"""The busy hour (`warehouses/busy_hour.py`) of BigQuery."""

from __future__ import annotations

from multiprocessing.connection import Connection

from mc_push_dagster.model import Scope
from mc_push_dagster.warehouses.bigquery import BigQuery, BigQuerySettings
from mc_push_dagster_tests.warehouses.busy_hour import QUERIES, START, read_through


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


def opened(url: str) -> BigQuery:
    settings = BigQuerySettings(projects=("shop-project",), regions=("us",), api_endpoint=url, page_size=2000)
    return BigQuery.from_settings(settings, scope=Scope())


if __name__ == "__main__":
    read_through(serving, opened)
