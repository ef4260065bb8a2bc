"""The loopback server as fixtures. Use: `pytest_plugins = ["mc_push_dagster_tests.bigquery.plugin"]`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mc_push_dagster_tests.bigquery import server


@pytest.fixture(scope="session")
def bigquery_server() -> Iterator[server.BigQuery]:
    with server.serve() as box:
        yield box


@pytest.fixture
def bq(bigquery_server: server.BigQuery) -> server.BigQuery:
    """Projects without anything in them."""
    bigquery_server.reset()
    return bigquery_server
