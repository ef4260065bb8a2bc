"""One configuration serves Dagster and the command line, and says in one sentence what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from mc_push_dagster.config import PushConfig, ScopeConfig, home, one_sentence, parse, read
from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.model import TablePattern
from mc_push_dagster.warehouses.duckdb import DuckDB

PLAIN = {"name": "shop", "warehouse": {"type": "duckdb", "path": "shop.duckdb"}}


def write(folder: Path, text: str) -> Path:
    path = folder / "push.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_home_folder_is_named_by_the_environment_or_hidden_in_the_working_folder():
    assert home({}) == Path(".mc_push")
    assert home({"MC_PUSH_HOME": ""}) == Path(".mc_push")
    assert home({"MC_PUSH_HOME": "/data/push"}) == Path("/data/push")


def test_the_smallest_configuration_is_a_name_and_a_warehouse(monkeypatch):
    monkeypatch.setenv("MC_PUSH_HOME", "/data/push")
    config = parse(PLAIN, source="test")
    assert config.ledger_url == "sqlite:////data/push/ledger.sqlite"
    assert config.store_url == "/data/push/outbox"
    assert config.delivery.max_events == 500
    assert config.delivery.max_bytes == 1_000_000
    assert isinstance(config.open_warehouse(), DuckDB)


def test_given_places_win_over_the_home_folder():
    config = parse(PLAIN | {"ledger": "postgresql://db/push", "store": "s3://bucket/out"}, source="test")
    assert (config.ledger_url, config.store_url) == ("postgresql://db/push", "s3://bucket/out")


def test_a_dagster_component_file_serves_as_it_stands(tmp_path):
    path = write(
        tmp_path,
        """
type: mc_push_dagster.MonteCarloPushComponent
attributes:
  name: shop
  warehouse: {type: duckdb, path: shop.duckdb}
  schedule: {hourly_minute: 5}
  owners: [team:data]
""",
    )
    assert read(path, environment={}) == parse(PLAIN, source="test")


def test_the_environment_fills_templates_in(tmp_path):
    path = write(
        tmp_path,
        """
name: shop
warehouse:
  type: duckdb
  path: "{{ env('FOLDER') }}/{{ env.NAME }}.duckdb"
store: "{{ env('STORE', '/tmp/store') }}"
""",
    )
    config = read(path, environment={"FOLDER": "/data", "NAME": "shop"})
    assert config.warehouse["path"] == "/data/shop.duckdb"
    assert config.store == "/tmp/store"


def test_a_value_from_the_environment_cannot_change_the_documents_structure(tmp_path):
    path = write(tmp_path, "name: shop\nwarehouse: {type: duckdb, path: \"{{ env('P') }}\"}\n")
    hostile = 'x"}\nledger: sqlite:///evil'
    config = read(path, environment={"P": hostile})
    assert config.warehouse["path"] == hostile
    assert config.ledger is None


def test_an_unset_variable_is_named(tmp_path):
    path = write(tmp_path, "name: shop\nwarehouse: {type: duckdb, path: \"{{ env('NOT_SET') }}\"}\n")
    with pytest.raises(FixConfiguration, match="environment variable NOT_SET, which is not set"):
        read(path, environment={})


def test_a_broken_template_is_named(tmp_path):
    path = write(tmp_path, 'name: shop\nwarehouse: {type: duckdb, path: "{{ env( }}"}\n')
    with pytest.raises(FixConfiguration, match="template"):
        read(path, environment={})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name: [", "is not YAML"),
        ("- a list", "expected a mapping with `name` and `warehouse`"),
        ("", "expected a mapping"),
        ("name: shop", "warehouse: field required"),
        ("name: 'no spaces'\nwarehouse: {type: duckdb}", "name: string should match"),
        ("name: s\nwarehouse: {type: duckdb}\ndelivery: {max_events: 0}", r"delivery\.max_events: input should be"),
        ("name: s\nwarehouse: {type: duckdb}\ndelivery: {speed: 9}", r"delivery\.speed: extra inputs"),
        ("name: s\nwarehouse: {type: duckdb}\nminimum_confidence: 2", "minimum_confidence: input should be"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_sentence(tmp_path, text, why):
    with pytest.raises(FixConfiguration, match=why) as caught:
        read(write(tmp_path, text), environment={})
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FixConfiguration, match=r"nope\.yaml cannot be read: No such file"):
        read(tmp_path / "nope.yaml")


def test_errors_repeat_no_values():
    secret = "hunter2"
    with pytest.raises(FixConfiguration) as caught:
        parse(PLAIN | {"delivery": {"timeout_seconds": secret}}, source="test")
    assert secret not in str(caught.value)
    with pytest.raises(ValidationError) as raised:
        PushConfig.model_validate({"name": secret + " "})
    assert secret not in one_sentence(raised.value)


def test_an_unknown_warehouse_type_names_the_known_ones():
    config = parse(PLAIN | {"warehouse": {"type": "duckbd"}}, source="test")
    with pytest.raises(FixConfiguration, match="did you mean 'duckdb'"):
        config.open_warehouse()


@pytest.mark.parametrize("kind", [None, 5])
def test_a_warehouse_without_type_says_so(kind):
    given = {} if kind is None else {"type": kind}
    with pytest.raises(FixConfiguration, match="`type` is missing"):
        parse(PLAIN | {"warehouse": given}, source="test").open_warehouse()


def test_a_scope_may_be_one_pattern_or_many():
    assert ScopeConfig(include="db.raw").scope().include == (TablePattern(database="db", schema="raw"),)  # type: ignore[arg-type]
    assert len(ScopeConfig(exclude=("a", "b.c")).scope().exclude) == 2


def test_a_broken_scope_is_a_matter_of_configuration():
    with pytest.raises(FixConfiguration, match="scope: not a table pattern"):
        ScopeConfig(include=("a..b",)).scope()


@pytest.mark.parametrize("secret", ["12345", "1e5", "None", "0x10", "[1]", "true"])
def test_what_the_environment_holds_stays_text(secret: str, tmp_path: Path) -> None:
    path = tmp_path / "push.yaml"
    path.write_text("name: shop\nwarehouse: {type: duckdb, path: \"{{ env('SECRET') }}\"}\n")
    assert read(path, environment={"SECRET": secret}).warehouse["path"] == secret


def test_a_database_of_another_resource_is_found_by_the_first_pattern_that_matches():
    uuids = ["9999999A-2222-4333-8444-555555555555", "8888888a-2222-4333-8444-555555555555"]
    given = {
        pattern: {"resource_uuid": uuid, "resource_type": kind}
        for pattern, uuid, kind in zip(("crm_eu", "CRM*"), uuids, ("postgres", "snowflake"), strict=True)
    }
    config = parse(PLAIN | {"other_resources": given}, source="test")
    found = [config.other_resource(database) for database in ("CRM_EU", "crm_us", "shop")]
    assert [(t.resource_uuid, t.resource_type) if t else None for t in found] == [
        (uuids[0].lower(), "postgres"), (uuids[1], "snowflake"), None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"other_resources": {"crm": {"resource_uuid": "crm", "resource_type": "x"}}}, "not a UUID"),
        ({"other_resources": {"crm": {"resource_uuid": "9999999a-2222-4333-8444-555555555555"}}}, "resource_type"),
        ({"lineage_workers": 0}, "lineage_workers"),
        ({"lineage_second_opinion": "perhaps"}, "lineage_second_opinion"),
    ],
)
def test_a_wrong_lineage_setting_is_named(wrong, said):
    with pytest.raises(FixConfiguration, match=f"(?i){said}"):
        parse(PLAIN | wrong, source="test")
