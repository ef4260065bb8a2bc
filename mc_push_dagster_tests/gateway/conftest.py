"""Fixtures of the gateway's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster_tests.gateway.raw_server import RawServer, sandbox_connection


@pytest.fixture
def server() -> Iterator[RawServer]:
    made = RawServer()
    yield made
    made.close()


@pytest.fixture
def connection(server: RawServer) -> Connection:
    return sandbox_connection(server.url)
