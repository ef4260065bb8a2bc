"""A station is opened with the user's own resource, and the demo never leaves this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from mc_push_dagster.config import PushConfig
from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.model import TableSnapshot
from mc_push_dagster.orchestration.resources import PushStation, warehouse_over
from mc_push_dagster.warehouses.lent import connect_through
from mc_push_dagster_tests.orchestration.fakes import FakeStation


class Managed:
    """As SnowflakeResource and DuckDBResource: a context manager that closes by itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open = 0

    @contextmanager
    def get_connection(self) -> Iterator[Any]:
        connection = duckdb.connect(str(self.path))
        self.open += 1
        try:
            yield connection
        finally:
            connection.close()
            self.open -= 1


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.duckdb"
    with closing(duckdb.connect(str(path))) as connection:
        connection.execute("CREATE TABLE orders AS SELECT 1 AS id")
    return path


def config(path: Path) -> PushConfig:
    return PushConfig(name="shop", warehouse={"type": "duckdb", "path": str(path)})


def test_a_resource_s_connection_is_closed_by_the_way_it_was_opened(shop: Path) -> None:
    resource = Managed(shop)
    with closing(connect_through(resource)()) as connection:
        assert connection.execute("SELECT id FROM orders").fetchall() == [(1,)]
        assert resource.open == 1
    assert resource.open == 0


def test_a_warehouse_reads_through_the_user_s_resource(shop: Path) -> None:
    resource = Managed(shop)
    warehouse = warehouse_over(PushConfig(name="shop", warehouse={"type": "duckdb"}), resource)
    found = [item.ref.name for item in warehouse.tables() if isinstance(item, TableSnapshot)]
    assert (found, resource.open) == (["orders"], 0)


def test_a_plain_connection_and_a_function_serve_too(shop: Path) -> None:
    class Plain:
        def get_client(self) -> Any:
            return duckdb.connect(str(shop))

    for resource in (Plain(), lambda: duckdb.connect(str(shop))):
        with closing(connect_through(resource)()) as connection:
            assert connection.execute("SELECT count(*) FROM orders").fetchone() == (1,)


def test_a_resource_that_opens_nothing_is_refused_by_its_type() -> None:
    with pytest.raises(FixConfiguration, match=r"a str has neither get_connection\(\) nor get_client\(\)"):
        connect_through("not a resource")


def test_settings_for_connecting_are_not_asked_for_where_a_resource_connects() -> None:
    snowflake = PushConfig(name="prod", warehouse={"type": "snowflake", "catalog": "account_usage"})
    warehouse = warehouse_over(snowflake, Managed(Path()))
    assert warehouse.options.catalog == "account_usage"
    with pytest.raises(FixConfiguration, match="account"):
        snowflake.open_warehouse()


def test_a_wrong_setting_is_named_without_its_value() -> None:
    wrong = PushConfig(name="prod", warehouse={"type": "snowflake", "catalogg": "s3cr3t"})
    with pytest.raises(FixConfiguration) as refused:
        warehouse_over(wrong, Managed(Path()))
    assert "catalogg" in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


def test_the_run_hands_the_named_resource_to_the_station(build, station: FakeStation) -> None:
    defs = build(connection_resource="my_duckdb")
    with_mine = dg.Definitions.merge(defs, dg.Definitions(resources={"my_duckdb": "the user's own"}))
    job = with_mine.resolve_job_def("monte_carlo_shop_hourly_push")
    selection = [dg.AssetKey(["monte_carlo", "shop", "table_catalog"])]
    with dg.DagsterInstance.ephemeral() as instance:
        assert job.execute_in_process(instance=instance, asset_selection=selection).success
    assert set(station.lent) == {"the user's own"}


def test_a_missing_resource_is_refused_when_definitions_load(build) -> None:
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="my_duckdb"):
        build(connection_resource="my_duckdb").get_repository_def()


def test_a_station_says_nothing_of_its_settings() -> None:
    resource = dg.ResourceDefinition.hardcoded_resource(PushStation(config=config(Path("s3cr3t-path"))))
    assert "s3cr3t-path" not in str(resource.description)
