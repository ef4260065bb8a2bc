"""Definitions over a station with nothing behind it, and an instance that keeps state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mc_push_dagster_tests.orchestration.fakes import NOW, FakeStation


@pytest.fixture
def station() -> FakeStation:
    return FakeStation()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance in memory; it keeps no state of definitions."""
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def stateful(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance that keeps versioned state, as the repository's dagster.yaml configures it."""
    storage = {
        "module": "dagster._core.storage.defs_state.blob_storage_state_storage",
        "class": "UPathDefsStateStorage",
        "config": {"base_path": str(tmp_path / "defs_state")},
    }
    with dg.instance_for_test(temp_dir=str(tmp_path), overrides={"defs_state_storage": storage}) as made:
        yield made


Build = Callable[..., dg.Definitions]


@pytest.fixture
def build(station: FakeStation) -> Build:
    """Definitions of a warehouse named `shop` whose station is the fake; keyword arguments are Dagster's settings."""
    from mc_push_dagster.config import PushConfig
    from mc_push_dagster.orchestration.build import build_monte_carlo_definitions
    from mc_push_dagster.orchestration.settings import DagsterSettings

    def make(hooks: dict[str, Any] | None = None, **settings: Any) -> dg.Definitions:
        config = PushConfig(name="shop", warehouse={"type": "duckdb", "path": "nowhere.duckdb"})
        made = build_monte_carlo_definitions(
            config, DagsterSettings.model_validate(settings), clock=lambda: NOW, **(hooks or {})
        )
        return dg.Definitions(
            assets=made.assets,
            asset_checks=made.asset_checks,
            jobs=made.jobs,
            schedules=made.schedules,
            sensors=made.sensors,
            resources={**(made.resources or {}), "monte_carlo_shop": station},
        )

    return make
