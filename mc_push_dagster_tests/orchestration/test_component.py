"""The component in a project's defs folder: YAML, translation, scaffolding, state, and what loading costs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster.components.testing.test_cases import TestTranslation
from dagster.components.testing.utils import create_defs_folder_sandbox

from mc_push_dagster import MonteCarloPushComponent, PushConfig
from mc_push_dagster.config import read
from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.orchestration import component as component_module
from mc_push_dagster.orchestration.settings import DagsterSettings
from mc_push_dagster.orchestration.state import gather
from mc_push_dagster.warehouses import REGISTRY
from mc_push_dagster_tests.orchestration.fakes import edge_record, table_record

WAREHOUSE = {"type": "duckdb", "path": "nowhere.duckdb"}
TYPE = "mc_push_dagster.MonteCarloPushComponent"
PUSHES = {"table_catalog", "lineage_graph", "query_logs"}


def body(**attributes: Any) -> dict[str, Any]:
    return {"type": TYPE, "attributes": {"name": "shop", "warehouse": WAREHOUSE, **attributes}}


@pytest.fixture
def no_warehouse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing the state needs a station; the state is what is under test here, not the station."""

    def write_state(station: Any, settings: Any, path: Path) -> tuple[str, ...]:
        state = gather(
            [table_record("db.raw.orders"), table_record("db.marts.sales")],
            [edge_record("db.raw.orders", "db.marts.sales")],
            [],
            scope=component_module.PushConfig(name="x", warehouse={}).scope.scope(),
            max_tables=10,
        )
        path.write_text(state.model_dump_json())
        return ()

    class Station:
        def __init__(self, **_: Any) -> None: ...

        def open(self) -> Any:
            from contextlib import nullcontext

            return nullcontext()

    monkeypatch.setattr(component_module, "write_state", write_state)
    monkeypatch.setattr(component_module, "PushStation", Station)


def chain(error: BaseException | None) -> str:
    """All that is said by an error and what caused it."""
    return "" if error is None else f"{error}\n{chain(error.__cause__ or error.__context__)}"


def load(attributes: dict[str, Any]) -> tuple[MonteCarloPushComponent, dg.Definitions]:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(MonteCarloPushComponent, defs_yaml_contents=body(**attributes))
        with sandbox.load_component_and_build_defs(path) as (component, defs):
            assert isinstance(component, MonteCarloPushComponent)
            return component, defs


def test_every_field_of_the_configuration_and_of_dagster_is_an_attribute() -> None:
    fields = set(MonteCarloPushComponent.model_fields)
    assert fields == {*PushConfig.model_fields, *DagsterSettings.model_fields, "translation", "defs_state"}
    schema = MonteCarloPushComponent.model().model_json_schema()["properties"]
    assert set(schema) == fields
    for name, field in PushConfig.model_fields.items():
        assert schema[name].get("description") == field.description


def test_fifteen_lines_of_yaml_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DUCKDB", "/data/shop.duckdb")
    component, defs = load(
        {
            "warehouse": {"type": "duckdb", "path": "{{ env('SHOP_DUCKDB', 'x') }}"},
            "scope": {"exclude": ["*.tmp.*"]},
            "monte_carlo": {"resource_uuid": "{{ env('NOT_SET', '') }}"},
            "delivery": {"max_events": 100},
            "forbid_change_sources": ["ddl polluted"],
            "schedule": {"hourly_minute": 12, "status": "RUNNING"},
            "owners": ["team:data"],
        }
    )
    assert component.config.warehouse["path"] == "/data/shop.duckdb"
    assert component.config.delivery.max_events == 100
    assert component.config.scope.exclude == ("*.tmp.*",)
    assert [source.value for source in component.config.forbid_change_sources] == ["ddl polluted"]
    assert {key.path[-1] for key in defs.resolve_asset_graph().get_all_asset_keys()} == PUSHES
    assert defs.resolve_schedule_def("monte_carlo_shop_hourly_push_schedule").cron_schedule == "12 * * * *"


def test_one_file_serves_dagster_and_the_command_line(tmp_path: Path) -> None:
    attributes = {
        "scope": {"include": "shop.*"},
        "lineage_window_hours": 48,
        "lineage_second_opinion": False,
        "lineage_workers": 2,
        "other_resources": {
            "crm_*": {"resource_uuid": "99999999-2222-4333-8444-555555555555", "resource_type": "postgres"}
        },
        "schedule": {"status": "RUNNING"},
    }
    path = tmp_path / "defs.yaml"
    path.write_text(yaml.safe_dump(body(**attributes)))
    component, _ = load(attributes)
    assert component.config == read(path)


@pytest.mark.parametrize(
    "wrong",
    [{"schedulle": {}}, {"schedule": {"hourly_minute": 75}}, {"represent_tables": {"mode": "all"}}, {"name": "a b"}],
)
def test_a_wrong_attribute_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Exception) as refused:
        load(wrong)
    assert next(iter(wrong)) in chain(refused.value)


def test_an_unknown_warehouse_type_says_which_are_known() -> None:
    with pytest.raises(Exception) as refused:
        load({"warehouse": {"type": "duckdbb"}})
    assert isinstance(refused.value.__cause__, FixConfiguration)
    assert "did you mean 'duckdb'?" in str(refused.value.__cause__)


def test_two_components_of_one_name_are_refused_by_name() -> None:
    with create_defs_folder_sandbox() as sandbox:
        for folder in ("one", "two"):
            sandbox.scaffold_component(MonteCarloPushComponent, folder, defs_yaml_contents=body())
        with pytest.raises(Exception) as refused, sandbox.build_component_tree() as tree:
            tree.build_defs(tree.defs_module_path)
    assert "MonteCarloPush[shop]" in chain(refused.value)


def test_two_warehouses_stand_side_by_side() -> None:
    with create_defs_folder_sandbox() as sandbox:
        for name in ("shop", "crm"):
            contents = body(name=name, warehouse=WAREHOUSE)
            sandbox.scaffold_component(MonteCarloPushComponent, name, defs_yaml_contents=contents)
        with sandbox.build_component_tree() as tree:
            defs = tree.build_defs(tree.defs_module_path)
            assert len(defs.resolve_asset_graph().get_all_asset_keys()) == 6


@pytest.mark.parametrize("management", ["LOCAL_FILESYSTEM", "VERSIONED_STATE_STORAGE"])
@pytest.mark.usefixtures("no_warehouse")
def test_tables_appear_once_their_state_is_written(management: str, stateful: dg.DagsterInstance) -> None:
    state = {"management_type": management, "refresh_if_dev": False}
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(MonteCarloPushComponent, defs_yaml_contents=body(defs_state=state))
        with sandbox.load_component_and_build_defs(path) as (component, defs):
            assert len(defs.resolve_asset_graph().get_all_asset_keys()) == 3
            asyncio.run(component.refresh_state(sandbox.project_root))
        with sandbox.load_component_and_build_defs(path) as (component, defs):
            keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
            assert {"shop/db/raw/orders", "shop/db/marts/sales"} < keys


@pytest.mark.usefixtures("no_warehouse", "stateful")
def test_a_run_process_builds_no_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(MonteCarloPushComponent, defs_yaml_contents=body())
        with sandbox.load_component_and_build_defs(path) as (component, _):
            asyncio.run(component.refresh_state(sandbox.project_root))
        monkeypatch.setenv("DAGSTER_RUN_JOB_NAME", "monte_carlo_shop_hourly_push")
        with sandbox.load_component_and_build_defs(path) as (_, defs):
            assert len(defs.resolve_asset_graph().get_all_asset_keys()) == 3


def test_state_is_versioned_and_never_read_from_the_warehouse_on_load_by_default() -> None:
    component, _ = load({})
    config = component.defs_state_config
    assert (config.key, config.management_type.value, config.refresh_if_dev) == (
        "MonteCarloPush[shop]",
        "VERSIONED_STATE_STORAGE",
        False,
    )


@pytest.mark.usefixtures("no_warehouse")
class TestTableTranslation(TestTranslation):
    """Dagster's own cases: group, owners, tags, kinds, key, key prefix, metadata, dependencies ..."""

    def test_translation(self, attributes, assertion, key_modifier, stateful) -> None:
        with create_defs_folder_sandbox() as sandbox:
            path = sandbox.scaffold_component(MonteCarloPushComponent, defs_yaml_contents=body(translation=attributes))
            with sandbox.load_component_and_build_defs(path) as (component, _):
                asyncio.run(component.refresh_state(sandbox.project_root))
            with sandbox.load_component_and_build_defs(path) as (_, defs):
                key = dg.AssetKey(["shop", "db", "marts", "sales"])
                if key_modifier:
                    key = key_modifier(key)
                (found,) = (spec for spec in defs.resolve_all_asset_specs() if spec.key == key)
                assert assertion(found)


@pytest.mark.usefixtures("no_warehouse", "stateful")
def test_lineage_follows_translated_keys() -> None:
    key = "{{ table.schema }}/{{ table.name }}"
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(MonteCarloPushComponent, defs_yaml_contents=body(translation={"key": key}))
        with sandbox.load_component_and_build_defs(path) as (component, _):
            asyncio.run(component.refresh_state(sandbox.project_root))
        with sandbox.load_component_and_build_defs(path) as (_, defs):
            specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    assert [dep.asset_key.to_user_string() for dep in specs["marts/sales"].deps] == ["raw/orders"]


@pytest.mark.parametrize("warehouse_type", list(REGISTRY))
def test_what_the_scaffolder_writes_loads(warehouse_type: str) -> None:
    with create_defs_folder_sandbox() as sandbox:
        params = {"warehouse_type": warehouse_type, "resource_uuid": "11111111-2222-4333-8444-555555555555"}
        path = sandbox.scaffold_component(MonteCarloPushComponent, "my-shop", scaffold_params=params)
        written = yaml.safe_load((path / "defs.yaml").read_text())["attributes"]
        assert written["name"] == "my_shop"
        assert written["schedule"]["status"] == "STOPPED"
        with sandbox.load_component_and_build_defs(path) as (component, defs):
            assert component.config.monte_carlo.resource_uuid == params["resource_uuid"]
            assert {key.path[-1] for key in defs.resolve_asset_graph().get_all_asset_keys()} == PUSHES


def test_a_subclass_overrides_specs_and_work() -> None:
    class Mine(MonteCarloPushComponent):
        def get_push_spec(self, asset: str, spec: dg.AssetSpec) -> dg.AssetSpec:
            return spec.replace_attributes(group_name="mine")

    from dagster.components.testing.utils import component_defs

    mine = Mine.resolve_from_dict({"name": "shop", "warehouse": WAREHOUSE})
    defs = component_defs(component=mine)
    assert {spec.group_name for spec in defs.resolve_all_asset_specs()} == {"mine"}


def test_secrets_of_the_configuration_are_not_in_the_definitions() -> None:
    """Dagster shows resources and their configuration in its UI."""
    _, defs = load({"warehouse": {**WAREHOUSE, "attach": {"x": "s3cr3t-path"}}})
    from dagster._core.remote_representation.external_data import RepositorySnap

    snapshot = RepositorySnap.from_def(defs.get_repository_def())
    assert "s3cr3t-path" not in dg.serialize_value(snapshot)


MEASURE = """
import json, sys, time
import dagster
start = time.perf_counter()
from mc_push_dagster.definitions import defs
defs().get_repository_def()
print(json.dumps({"seconds": time.perf_counter() - start, "modules": sorted(sys.modules)}))
"""
HEAVY = (
    "dagster_snowflake", "dagster_gcp", "dagster_pandas", "pycarlo", "pandas", "duckdb", "snowflake.connector",
    "google.cloud", "pyhive", "psycopg", "sqlalchemy.dialects.postgresql", "sqlglot", "uvicorn",
    "mc_push_dagster.sandbox", "mc_push_dagster.gateway", "mc_push_dagster.ledger",
)  # fmt: skip


@pytest.fixture(scope="module")
def load_alone() -> dict[str, Any]:
    """A process that loads the definitions and nothing else."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE], capture_output=True, text=True, env=os.environ, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_loading_imports_no_driver_no_client_and_no_plugin(load_alone: dict[str, Any]) -> None:
    assert [name for name in HEAVY if name in load_alone["modules"]] == []


def test_loading_takes_less_than_a_second_beyond_dagster(load_alone: dict[str, Any]) -> None:
    assert load_alone["seconds"] < 1


def test_importing_the_package_imports_no_dagster() -> None:
    code = "import sys, mc_push_dagster; print(mc_push_dagster.__version__, 'dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "False"


def test_dagster_s_tools_find_the_component_by_the_package_alone() -> None:
    import mc_push_dagster

    assert "MonteCarloPushComponent" in dir(mc_push_dagster)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = mc_push_dagster.Nothing


def test_dagster_lists_our_version_beside_its_own() -> None:
    from dagster_shared.libraries import DagsterLibraryRegistry

    from mc_push_dagster import __version__

    assert DagsterLibraryRegistry.get()["mc_push_dagster"] == __version__


@pytest.mark.parametrize("secret", ["12345", "1e5", "None"])
def test_a_password_of_digits_stays_text(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE_SECRET", secret)
    component = MonteCarloPushComponent.resolve_from_yaml(
        "name: shop\nwarehouse:\n  type: duckdb\n  path: \"{{ env('WAREHOUSE_SECRET') }}\"\n"
    )
    assert component.config.warehouse["path"] == secret
