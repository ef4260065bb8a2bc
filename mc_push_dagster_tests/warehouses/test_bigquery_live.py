"""What only a live project can show. Run: `pytest -m live mc_push_dagster_tests/warehouses/test_bigquery_live.py`.

BIGQUERY_TEST_PROJECT names a project in which we may see at least one table; BIGQUERY_TEST_REGIONS (comma-separated)
and BIGQUERY_TEST_KEY_FILE are optional: without the latter, application default credentials serve. Nothing is written;
each job is billed for at least 10 MB a view it reads.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from mc_push_dagster.flow.collect import snapshots
from mc_push_dagster.model import Gap, Scope, TableSnapshot, Window
from mc_push_dagster.warehouses import _bigquery_sql as sql
from mc_push_dagster.warehouses._bigquery_session import UNREADABLE, Reader
from mc_push_dagster.warehouses.base import Capability
from mc_push_dagster.warehouses.bigquery import BigQuery, BigQueryIceberg, BigQuerySettings
from mc_push_dagster_tests.bigquery.engine import SHAPES

pytestmark = pytest.mark.live

PREFIX = "BIGQUERY_TEST_"


@pytest.fixture(scope="module")
def settings() -> BigQuerySettings:
    project = os.environ.get(PREFIX + "PROJECT")
    if project is None:
        pytest.skip(f"set {PREFIX}PROJECT and credentials to run against a live project")
    given = {
        "projects": [project],
        "job_project": project,
        "regions": [r for r in os.environ.get(PREFIX + "REGIONS", "").split(",") if r],
        "service_account_file": os.environ.get(PREFIX + "KEY_FILE"),
    }
    return BigQuerySettings.model_validate(given)


@pytest.fixture(params=[BigQuery, BigQueryIceberg], ids=lambda kind: kind.name)
def warehouse(request, settings) -> BigQuery:
    return request.param.from_settings(settings, scope=Scope())


def test_the_catalog_of_a_live_project_is_ordered_and_typed(warehouse):
    found = list(snapshots(warehouse))
    tables = [item for item in found if isinstance(item, TableSnapshot)]
    assert tables or warehouse.biglake
    assert all(table.columns for table in tables if table.ref not in {g.ref for g in found if isinstance(g, Gap)})


def test_every_right_that_is_said_to_be_there_works(warehouse):
    granted = {access.capability for access in warehouse.check_access() if access.granted}
    assert Capability.SCHEMA in granted
    end = datetime.now(UTC) - warehouse.query_log_latency
    window = Window(start=end - timedelta(hours=1), end=end)
    if Capability.QUERY_LOG in granted:
        assert all(record.text for record in warehouse.queries(window))
    if Capability.TABLE_LINEAGE in granted:
        assert not [item for item in warehouse.lineage(window) if isinstance(item, Gap)]


def test_our_own_jobs_are_left_out_of_the_log(settings):
    warehouse = BigQuery.from_settings(settings, scope=Scope())
    start = datetime.now(UTC)
    list(warehouse.fingerprints())
    window = Window(start=start, end=datetime.now(UTC) + timedelta(minutes=1))
    assert not [q for q in warehouse.queries(window) if "FARM_FINGERPRINT(CONCAT(t.table_schema" in q.text]


def test_fingerprints_of_an_unchanged_schema_are_equal(warehouse):
    first, second = list(warehouse.fingerprints()), list(warehouse.fingerprints())
    assert first == second
    assert not any(isinstance(item, Gap) for item in first)


@pytest.mark.parametrize("view", SHAPES)
def test_each_view_has_the_columns_that_are_documented(settings, view):
    """Dry runs: they are checked and not run, and cost nothing."""
    warehouse = BigQuery.from_settings(settings, scope=Scope())
    with Reader(warehouse._connect, warehouse.options) as reader:
        project = settings.projects[0]
        regions = settings.regions or set(reader.datasets(project).values())
        place = sql.Place(project, min(regions))
        columns = ", ".join(f"v.{name}" for name in SHAPES[view]["columns"])
        try:
            reader.dry_run(sql.Statement(f"SELECT {columns} FROM {place.view(view)} AS v"), place)
        except UNREADABLE as error:
            if "permission" in str(error):
                pytest.skip(f"no right to read {view}")
            raise
