"""A warehouse is one file, one test file, one registry line and one README row, and the four agree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mc_push_dagster import warehouses
from mc_push_dagster.errors import BrokenContract, FixConfiguration
from mc_push_dagster.warehouses import REGISTRY, Registry, load
from mc_push_dagster.warehouses.base import Warehouse

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = {"base", "lent"}
"""Files that are no engine but what engines are made of; what a few engines share begins with an underscore."""
HOUSE = "mc_push_dagster.warehouses."
OURS = {name: place for name, place in REGISTRY.items() if place.startswith(HOUSE)}


@pytest.mark.parametrize("name", OURS)
def test_each_line_leads_to_a_warehouse_of_that_name_in_a_file_with_its_tests(name):
    module, _, cls = OURS[name].partition(":")
    stem = module.removeprefix(HOUSE)
    assert (ROOT / "mc_push_dagster" / "warehouses" / f"{stem}.py").is_file()
    loaded = load(name)
    assert loaded.__name__ == cls
    assert loaded.name == name
    tests = list((ROOT / "mc_push_dagster_tests" / "warehouses").glob(f"test_{stem}*.py"))
    assert any("(WarehouseContract" in file.read_text(encoding="utf-8") for file in tests), (
        f"{name}: no mc_push_dagster_tests/warehouses/test_{stem}*.py subclasses WarehouseContract"
    )


def test_each_file_is_in_the_registry():
    files = {
        file.stem
        for file in (ROOT / "mc_push_dagster" / "warehouses").glob("*.py")
        if not file.stem.startswith("_") and file.stem not in CONTRACT
    }
    assert files == {place.partition(":")[0].removeprefix(HOUSE) for place in OURS.values()}


def test_readme_has_a_row_for_each_and_for_no_other():
    assert readme_rows((ROOT / "README.md").read_text(encoding="utf-8")) == sorted(OURS)


def readme_rows(text: str) -> list[str]:
    """The names in the first column of the table that has a row for `duckdb`."""
    for block in re.split(r"\n\s*\n", text):
        names = re.findall(r"^\|\s*`([a-z0-9_]+)`\s*\|", block, flags=re.MULTILINE)
        if "duckdb" in names:
            return sorted(names)
    return []


def test_reading_the_registry_imports_no_warehouse():
    code = (
        "import sys; from mc_push_dagster.warehouses import REGISTRY; list(REGISTRY.items());"
        "sys.exit(any(m.startswith('mc_push_dagster.warehouses.') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_type_names_the_nearest_and_all():
    with pytest.raises(
        FixConfiguration, match=r"no warehouse type 'duckbd': did you mean 'duckdb'\? known types are .*"
    ):
        load("duckbd")


# Third parties


@pytest.fixture
def third_party(monkeypatch):
    """Entry points as an installed package of a third party would bring them."""

    def install(**points: str) -> None:
        class Point:
            def __init__(self, name: str, value: str) -> None:
                self.name, self.value = name, value

        def entry_points(*, group: str) -> list[Point]:
            assert group == "mc_push_dagster.warehouses"
            return [Point(name, value) for name, value in points.items()]

        monkeypatch.setattr(warehouses, "entry_points", entry_points)
        monkeypatch.setattr(warehouses, "REGISTRY", Registry({"duckdb": HOUSE + "duckdb:DuckDB"}))

    return install


class Theirs(Warehouse):
    name = "theirs"


def test_a_third_party_joins_by_an_entry_point_and_cannot_replace_ours(third_party):
    third_party(theirs=f"{__name__}:Theirs", duckdb="evil:Duck")
    assert list(warehouses.REGISTRY) == ["duckdb", "theirs"]
    assert len(warehouses.REGISTRY) == 2
    assert load("theirs") is Theirs
    assert load("duckdb").__name__ == "DuckDB"


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("no.such.module:Thing", "cannot be loaded"),
        ("json:NoSuchName", "cannot be loaded"),
        ("json:JSONDecoder", "is not a Warehouse"),
        ("json:dumps", "is not a Warehouse"),
    ],
)
def test_what_a_third_party_registered_wrongly_is_named(third_party, place, why):
    third_party(theirs=place)
    with pytest.raises(BrokenContract, match=rf"'theirs'.*{why}"):
        load("theirs")
