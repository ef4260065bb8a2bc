"""What docs/dagster.md says works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import dagster as dg
import pytest
import yaml

from mc_push_dagster import MonteCarloPushComponent
from mc_push_dagster.orchestration.settings import RepresentTables

PAGE = (Path(__file__).parents[2] / "docs" / "dagster.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", [text for language, text in BLOCKS if language == "yaml"])
def test_each_yaml_block_makes_a_component(text: str) -> None:
    document = yaml.safe_load(text)
    assert document["type"] == "mc_push_dagster.MonteCarloPushComponent"
    assert MonteCarloPushComponent.resolve_from_dict(document["attributes"]).name == document["attributes"]["name"]


@pytest.mark.parametrize("text", [text for language, text in BLOCKS if language == "python"])
def test_each_python_block_makes_definitions(text: str) -> None:
    scope: dict[str, object] = {}
    exec(compile(text, "docs/dagster.md", "exec"), scope)
    definitions = scope["definitions"]
    assert isinstance(definitions, dg.Definitions)
    assert len(definitions.resolve_asset_graph().get_all_asset_keys()) == 3


def test_the_page_names_what_there_is(build) -> None:
    defs = build()
    names = [job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")]
    names += [sensor.name for sensor in defs.sensors or []]
    for name in names:
        assert name in PAGE or name.removeprefix("monte_carlo_shop") in PAGE
    for key in defs.resolve_asset_graph().get_all_asset_keys():
        assert f"`{key.to_user_string()}`" in PAGE
    defaults = RepresentTables()
    assert f"`max_tables: {defaults.max_tables}`, `max_bytes: {defaults.max_bytes}`" in PAGE
