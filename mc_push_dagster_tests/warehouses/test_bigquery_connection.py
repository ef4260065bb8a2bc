"""Clients of BigQuery: how they are made, what the server sees of them, and what becomes of them when it fails."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import zip_longest
from typing import Any

import pytest
from pydantic import ValidationError

from mc_push_dagster.config import parse
from mc_push_dagster.errors import FixAccess, FixConfiguration
from mc_push_dagster.model import Gap, Scope, TableSnapshot, Window
from mc_push_dagster.warehouses.base import Capability
from mc_push_dagster.warehouses.bigquery import BigQuery, BigQueryIceberg, BigQueryOptions, BigQuerySettings
from mc_push_dagster_tests.bigquery.keys import service_account_key
from mc_push_dagster_tests.bigquery.rows import NOW, SHOP, Table, job, opened, put, settings
from mc_push_dagster_tests.bigquery.server import ME, NEVER, Fault

pytest_plugins = ["mc_push_dagster_tests.bigquery.plugin"]

WHOLE = Window(start=NOW - timedelta(days=1), end=NOW + timedelta(days=1))
ADC = "GOOGLE_APPLICATION_CREDENTIALS"


def names(warehouse: BigQuery) -> list[str]:
    return [item.ref.name for item in warehouse.tables() if isinstance(item, TableSnapshot)]


@pytest.fixture
def shop(bq):
    put(bq, Table(dataset="d", name="a"), Table(dataset="d", name="b"))
    return bq


@pytest.fixture
def closed(monkeypatch):
    """Every client that was closed."""
    from google.cloud.bigquery import Client

    seen: list[Client] = []
    close = Client.close

    def noted(client: Client) -> None:
        seen.append(client)
        close(client)

    monkeypatch.setattr(Client, "close", noted)
    return seen


# Settings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"service_account_key": "{}", "service_account_file": "f"}, "not both"),
        ({"api_endpoint": "http://example.com"}, "clear text"),
        ({"api_endpoint": "example.com"}, "an address like"),
        ({"projects": ["Shop Project"]}, "not a project id"),
        ({"projects": ["a`; drop"]}, "not a project id"),
        ({"regions": ["us`"]}, "not a location"),
        ({"job_label": "Not A Label"}, "not a label key"),
    ],
)
def test_settings_that_are_wrong_are_refused_without_their_values(given, said):
    with pytest.raises(ValidationError, match=said) as caught:
        BigQuerySettings.model_validate(given)
    assert "drop" not in str(caught.value)


def test_locations_are_taken_as_people_write_them():
    assert BigQueryOptions(regions=("US", "region-eu", "europe-west3")).regions == ("us", "eu", "europe-west3")
    assert BigQueryOptions(projects=("example.com:shop-project",)).projects == ("example.com:shop-project",)


def test_configuration_says_which_setting_is_wrong_in_one_sentence():
    given = {"name": "w", "warehouse": {"type": "bigquery", "regions": ["?"]}}
    with pytest.raises(FixConfiguration, match=r"bigquery.*not a location"):
        parse(given, source="x").open_warehouse()


@pytest.mark.parametrize(
    "key", ["no json", "[]", "{}", '{"type": "service_account", "private_key": "hunter2"}', "aHVudGVyMg=="]
)
def test_a_key_that_is_none_is_said_in_one_sentence_without_it(bq, key):
    with pytest.raises(FixConfiguration, match="service account key") as caught:
        names(opened(bq, service_account_key=key))
    assert "hunter2" not in str(caught.value)


def test_a_key_file_that_cannot_be_read_is_named(bq):
    with pytest.raises(FixConfiguration, match="/does/not/exist"):
        names(opened(bq, service_account_file="/does/not/exist"))


def test_a_key_serves_as_text_in_base64_and_from_a_file(shop, tmp_path):
    key = service_account_key(shop.url)
    file = tmp_path / "key.json"
    file.write_text(key)
    shop.tokens = set()
    coded = base64.b64encode(key.encode()).decode()
    for given in ({"service_account_key": key}, {"service_account_key": coded}, {"service_account_file": file}):
        assert names(opened(shop, **given)) == ["a", "b"]
    assert shop.tokens_given == 3


def test_application_default_credentials_serve_where_no_key_is_given(shop, tmp_path, monkeypatch):
    file = tmp_path / "adc.json"
    file.write_text(service_account_key(shop.url))
    monkeypatch.setenv(ADC, str(file))
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", shop.url)
    shop.tokens = set()
    warehouse = BigQuery.from_settings(BigQuerySettings(), scope=Scope())
    assert names(warehouse) == ["a", "b"]
    assert shop.tokens_given == 1


def test_no_credentials_at_all_name_the_ways_to_give_them(monkeypatch, tmp_path):
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv(ADC, raising=False)
    with pytest.raises(FixConfiguration, match=r"gcloud auth.*service_account_key"):
        names(BigQuery.from_settings(BigQuerySettings(), scope=Scope()))


def test_jobs_run_in_the_project_that_pays_and_read_the_others(shop):
    put(shop, Table(dataset="d", name="t"), project="other-project")
    found = list(opened(shop, projects=("other-project",), job_project="billing-project").tables())
    assert [str(item.ref) for item in found] == ["other-project.d.t"]
    assert shop.requested("POST /bigquery/v2/projects/billing-project/jobs")
    assert not shop.requested(f"projects/{SHOP}")


def test_a_missing_driver_names_the_extra():
    code = """
import sys
sys.modules["google"] = None
from mc_push_dagster.errors import MissingExtra
from mc_push_dagster.model import Scope
from mc_push_dagster.warehouses.bigquery import BigQuery, BigQuerySettings
try:
    list(BigQuery.from_settings(BigQuerySettings(), scope=Scope()).tables())
except MissingExtra as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'mc-push-dagster[bigquery]'" in done.stdout


def test_two_accounts_side_by_side_in_one_process_keep_to_their_own_credentials(shop, monkeypatch):
    monkeypatch.setenv(ADC, "/left/as/it/is")
    put(shop, Table(dataset="d", name="z"), project="other-project")
    before = dict(os.environ)
    pair = [
        opened(
            shop, projects=(p,), service_account_key=service_account_key(shop.url, project=p, email=f"{p}@x")
        ).tables()
        for p in (SHOP, "other-project")
    ]
    interleaved = [item.ref.name for both in zip_longest(*pair) for item in both if item is not None]
    assert interleaved == ["a", "z", "b"]
    assert dict(os.environ) == before
    assert shop.tokens_given == 2


def test_each_read_has_a_client_of_its_own_so_that_threads_share_none(shop, closed):
    warehouse = opened(shop)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: names(warehouse), range(8))) == [["a", "b"]] * 8
    assert len(set(map(id, closed))) == 8


def test_clients_are_closed_when_the_read_fails_and_when_it_is_left(shop, closed):
    tables = opened(shop).tables()
    next(tables)
    tables.close()
    shop.faults.append(Fault(on="/jobs", times=NEVER, status=401, reason="authError"))
    with pytest.raises(FixAccess):
        names(opened(shop, service_account_key=service_account_key(shop.url)))
    assert len(closed) == 2


# A user's own resource


@pytest.fixture
def resource(shop, monkeypatch):
    from dagster_gcp import BigQueryResource

    def made(**more: Any) -> BigQueryResource:
        key = service_account_key(shop.url)
        return BigQueryResource(project=SHOP, gcp_credentials=base64.b64encode(key.encode()).decode(), **more)

    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", shop.url)
    monkeypatch.delenv(ADC, raising=False)
    return made


def test_a_users_own_dagster_resource_serves_as_it_stands(shop, resource, closed):
    shop.tokens = set()
    shop.fill("JOBS_BY_PROJECT", [job("q", "select '100%'", NOW)])
    warehouse = BigQuery.over(resource(), options=BigQueryOptions(timeout_seconds=20))
    assert names(warehouse) == ["a", "b"]
    assert [q.text for q in warehouse.queries(WHOLE)] == ["select '100%'"]
    assert all(a.granted for a in warehouse.check_access())
    assert len(closed) == 3
    assert BigQueryIceberg.over(resource()).biglake


def test_two_such_resources_are_read_side_by_side_and_leave_the_environment_as_it_was(shop, resource):
    pair = [BigQuery.over(resource(location=place)).tables() for place in ("us", "eu")]
    assert [next(tables).ref.name for tables in pair] == ["a", "a"]
    assert ADC not in os.environ
    assert [[item.ref.name for item in tables] for tables in pair] == [["b"], ["b"]]


def test_a_component_takes_the_users_resource_and_the_reading_options_alone(shop, resource):
    from mc_push_dagster.orchestration.resources import warehouse_over

    config = parse({"name": "w", "warehouse": {"type": "bigquery", "shards": "each"}}, source="x")
    assert names(warehouse_over(config, resource())) == ["a", "b"]
    wrong = parse({"name": "w", "warehouse": {"type": "bigquery", "api_endpoint": "https://x"}}, source="x")
    with pytest.raises(FixConfiguration, match="api_endpoint"):
        warehouse_over(wrong, resource())


def test_a_resource_without_credentials_is_an_error_of_configuration(monkeypatch, tmp_path):
    from dagster_gcp import BigQueryResource

    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.delenv(ADC, raising=False)
    with pytest.raises(FixConfiguration, match="no credentials"):
        names(BigQuery.over(BigQueryResource(project=SHOP)))


def client(bq):
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import bigquery

    return bigquery.Client(SHOP, AnonymousCredentials(), client_options={"api_endpoint": bq.url})


def test_a_context_manager_is_held_while_we_read_and_left_after_the_client_is_closed(shop, closed):
    order = []

    class Resource:
        @contextmanager
        def get_client(self):
            yield client(shop)
            order.append(len(closed))  # without try: it is not left as after an error

    tables = BigQuery.over(Resource()).tables()
    next(tables)
    assert order == []
    tables.close()
    assert order == [1]


def test_a_plain_function_that_gives_a_client_serves(shop, closed):
    assert names(BigQuery.over(lambda: client(shop))) == ["a", "b"]
    assert len(closed) == 1


def test_what_gives_no_client_is_refused_and_left():
    left = []

    class Resource:
        @contextmanager
        def get_client(self):
            try:
                yield object()
            finally:
                left.append(True)

    with pytest.raises(FixConfiguration, match=r"google\.cloud\.bigquery\.Client; it gave a object"):
        names(BigQuery.over(Resource()))
    assert left == [True]
    with pytest.raises(FixConfiguration, match="no function without arguments"):
        BigQuery.over(object())


# Credentials that end


def test_a_token_that_expires_in_the_middle_of_a_read_is_renewed(shop):
    put(shop, *(Table(dataset="d", name=f"t{i:03}") for i in range(40)))
    shop.tokens = set()
    tables = opened(shop, service_account_key=service_account_key(shop.url), page_size=10).tables()
    seen = [next(tables).ref.name]
    shop.tokens.clear()
    seen += [item.ref.name for item in tables]
    assert seen == ["a", "b", *(f"t{i:03}" for i in range(40))]
    assert shop.tokens_given == 2


@pytest.mark.parametrize("refused", [True, False])
def test_credentials_that_end_in_the_middle_of_a_read_are_a_matter_of_access(shop, refused):
    put(shop, *(Table(dataset="d", name=f"t{i:03}") for i in range(40)))
    shop.tokens = set()
    key = service_account_key(shop.url)
    tables = opened(shop, service_account_key=key, page_size=10).tables()
    next(tables)
    shop.token_refused = refused
    if refused:
        shop.tokens.clear()
    else:
        shop.faults.append(Fault(on="bigquery/v2", times=NEVER, status=401, reason="authError", message="gone"))
    with pytest.raises(FixAccess, match="refused the credentials") as caught:
        list(tables)
    assert "PRIVATE KEY" not in str(caught.value)


def test_a_key_that_was_revoked_costs_no_second_attempt(shop):
    shop.tokens = set()
    shop.token_refused = True
    with pytest.raises(FixAccess, match="Invalid JWT"):
        names(opened(shop, service_account_key=service_account_key(shop.url)))
    assert len(shop.requests) == 1


def test_a_server_that_is_not_there_ends_the_read_within_its_time(bq):
    from mc_push_dagster.errors import WarehouseUnavailable

    with pytest.raises(WarehouseUnavailable):
        names(opened(bq, api_endpoint="http://127.0.0.1:1", timeout_seconds=1))


# Doctor


def test_each_capability_is_checked_by_itself_and_names_its_role_and_permission(shop):
    shop.denied += ["TABLE_STORAGE", "JOBS_BY_PROJECT"]
    warehouse = opened(shop, service_account_key=service_account_key(shop.url))
    seen = {a.capability: a for a in warehouse.check_access()}
    assert {c for c, a in seen.items() if not a.granted} == {
        Capability.ROW_COUNT,
        Capability.BYTE_COUNT,
        Capability.DATA_CHANGE,
        Capability.QUERY_LOG,
        Capability.TABLE_LINEAGE,
    }
    assert (
        f"gcloud projects add-iam-policy-binding {SHOP} --member=serviceAccount:{ME} "
        "--role=roles/bigquery.resourceViewer (bigquery.jobs.listAll)"
    ) in seen[Capability.QUERY_LOG].detail
    assert "--role=roles/bigquery.metadataViewer" in seen[Capability.ROW_COUNT].detail
    assert seen[Capability.SCHEMA].granted


def test_the_doctor_runs_no_job_and_costs_nothing(shop):
    put(shop, Table(dataset="e", name="t"), region="eu")
    assert all(a.granted for a in opened(shop).check_access())
    assert not shop.statements
    assert shop.dry_runs == 2 * 8


def test_the_right_to_run_jobs_is_told_from_the_right_to_read(shop):
    message = f"Access Denied: Project {SHOP}: User does not have bigquery.jobs.create permission in project {SHOP}."
    shop.faults.append(Fault(on="POST .*jobs", times=NEVER, status=403, reason="accessDenied", message=message))
    seen = list(opened(shop).check_access())
    assert not any(a.granted for a in seen)
    assert all("--role=roles/bigquery.jobUser (bigquery.jobs.create)" in a.detail for a in seen)


def test_nothing_to_be_seen_is_said_for_each_capability(bq):
    seen = list(opened(bq).check_access())
    assert not any(a.granted for a in seen)
    assert all("no dataset in scope can be seen" in a.detail for a in seen)


def test_iceberg_is_checked_for_what_it_reads(shop):
    put(shop, Table(dataset="d", name="ice", managed="BIGLAKE"))
    assert Capability.VIEW_TEXT not in {a.capability for a in opened(shop, kind=BigQueryIceberg).check_access()}


def test_gaps_and_errors_never_hold_the_key(shop):
    key = service_account_key(shop.url)
    secret = json.loads(key)["private_key"][40:80]
    shop.denied.append(".")
    warehouse = opened(shop, service_account_key=key, regions=("us",))
    for item in [*warehouse.tables(), *warehouse.lineage(WHOLE)]:
        assert isinstance(item, Gap)
        assert secret not in repr(item)
    assert secret not in repr(settings(shop, service_account_key=key))
