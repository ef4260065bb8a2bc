"""The busy hour (`warehouses/busy_hour.py`) of Snowflake."""

from __future__ import annotations

from multiprocessing.connection import Connection

from mc_push_dagster.warehouses.snowflake import Snowflake
from mc_push_dagster_tests.snowflake import rows, server
from mc_push_dagster_tests.warehouses.busy_hour import QUERIES, START, read_through


def serving(pipe: Connection) -> None:
    with server.serve() as box:
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


def opened(port: int) -> Snowflake:
    return rows.opened(server.Snowflake(port=port), timeout_seconds=120)


if __name__ == "__main__":
    read_through(serving, opened)
