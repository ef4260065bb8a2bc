"""The loopback server as fixtures. Use: `pytest_plugins = ["mc_push_dagster_tests.snowflake.plugin"]`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mc_push_dagster_tests.snowflake import server

# fakesnow reads DuckDB's results in the way DuckDB 2.0 warns of; the warning rises in the server's thread.
FAKESNOW = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result:UserWarning")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "snowflake_server" in getattr(item, "fixturenames", ()):
            item.add_marker(FAKESNOW)


@pytest.fixture(scope="session")
def snowflake_server() -> Iterator[server.Snowflake]:
    with server.serve() as box:
        yield box


@pytest.fixture
def sf(snowflake_server: server.Snowflake) -> server.Snowflake:
    """An empty account."""
    snowflake_server.reset()
    return snowflake_server
