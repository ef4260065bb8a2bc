"""A sandbox to push to, and a Monte Carlo warehouse in it for each test."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mc_push_dagster.sandbox import Sandbox, serve
from mc_push_dagster_tests.warehouses import pushing


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with serve() as running:
        yield running


@pytest.fixture
def uuid(sandbox: Sandbox, request: pytest.FixtureRequest) -> str:
    """A Monte Carlo warehouse of the test's own."""
    return sandbox.add_warehouse(request.node.name)


@pytest.fixture
def station_over(sandbox: Sandbox, uuid: str, tmp_path: Path) -> pushing.StationOver:
    """Opens a station that pushes to the sandbox, by a configuration's `warehouse`."""
    return partial(pushing.opened, sandbox, uuid, tmp_path)
