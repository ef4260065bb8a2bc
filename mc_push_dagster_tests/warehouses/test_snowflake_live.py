"""What only a live account can show. Run: `pytest -m live mc_push_dagster_tests/warehouses/test_snowflake_live.py`.

Credentials come from the environment: SNOWFLAKE_TEST_ACCOUNT, _USER, _PASSWORD or _KEY_FILE, _ROLE, _WAREHOUSE, and
SNOWFLAKE_TEST_DATABASE, a database in which the role may see at least one table. Nothing is written.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from mc_push_dagster.flow.collect import snapshots
from mc_push_dagster.model import Gap, Scope, TablePattern, TableSnapshot, Window
from mc_push_dagster.warehouses import _snowflake_sql as sql
from mc_push_dagster.warehouses._snowflake_session import Reader
from mc_push_dagster.warehouses.base import Capability
from mc_push_dagster.warehouses.snowflake import Snowflake, SnowflakeSettings

pytestmark = pytest.mark.live

PREFIX = "SNOWFLAKE_TEST_"
NAMES = ("account", "user", "password", "key_file", "role", "warehouse")


@pytest.fixture(scope="module")
def warehouse() -> Snowflake:
    given = {name: os.environ[PREFIX + name.upper()] for name in NAMES if PREFIX + name.upper() in os.environ}
    database = os.environ.get(PREFIX + "DATABASE")
    if "account" not in given or database is None:
        pytest.skip(f"set {PREFIX}ACCOUNT, {PREFIX}DATABASE and credentials to run against a live account")
    settings = SnowflakeSettings.model_validate(given)
    return Snowflake.from_settings(settings, scope=Scope(include=(TablePattern(database=database),)))


def test_the_catalog_of_a_live_account_is_ordered_and_typed(warehouse):
    found = [item for item in snapshots(warehouse) if isinstance(item, TableSnapshot)]
    assert found
    assert all(item.columns for item in found)


def test_every_right_that_is_said_to_be_there_works(warehouse):
    granted = {access.capability for access in warehouse.check_access() if access.granted}
    assert Capability.SCHEMA in granted
    if Capability.QUERY_LOG in granted:
        end = datetime.now(UTC) - warehouse.query_log_latency
        for record in warehouse.queries(Window(start=end - timedelta(hours=1), end=end)):
            assert record.text


def test_fingerprints_of_an_unchanged_schema_are_equal(warehouse):
    first, second = list(warehouse.fingerprints()), list(warehouse.fingerprints())
    assert first == second
    assert not any(isinstance(item, Gap) for item in first)


@pytest.mark.parametrize("view", ["TABLES", "VIEWS", "COLUMNS", "ELEMENT_TYPES", "FIELDS"])
def test_the_information_schema_has_the_columns_we_name(warehouse, view):
    database = os.environ[PREFIX + "DATABASE"]
    build = {"TABLES": sql.tables, "VIEWS": sql.tables, "COLUMNS": sql.columns}
    place = sql.Place(database=database)
    statement = (
        build[view](place, Scope())
        if view in build
        else {"ELEMENT_TYPES": sql.element_types, "FIELDS": sql.fields}[view](place)
    )
    with Reader(warehouse._connect, timeout_seconds=300) as reader:
        reader.all(statement)
