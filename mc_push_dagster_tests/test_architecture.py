"""The walls of the house, on the syntax tree: who may import what, what must not exist, and what an import costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from mc_push_dagster.warehouses import REGISTRY, load

PACKAGE = "mc_push_dagster"
ROOT = Path(__file__).resolve().parents[1] / PACKAGE

DRIVERS = frozenset(
    {
        "duckdb",
        "snowflake",
        "google",
        "pyhive",
        "TCLIService",
        "thrift",
        "thrift_sasl",
        "puresasl",
        "databricks",
        "redshift_connector",
        "psycopg",
        "psycopg2",
        "pyspark",
        "pyiceberg",
        "MySQLdb",
        "pymysql",
        "trino",
    }
)
HEAVY = DRIVERS | {"dagster", "pycarlo", "pandas", "numpy", "pyarrow", "sqlglot", "sqlalchemy", "graphql", "starlette"}

# What each room must not import, by design §2 and §3: data moves one way, and a room knows only what its step needs.
FORBIDDEN = {
    "warehouses": {
        "flow",
        "gateway",
        "ledger",
        "orchestration",
        "cli",
        "sandbox",
        "defs",
        "readiness",
        "assembly",
        "config",
    },
    "lineage": {
        "flow",
        "gateway",
        "ledger",
        "orchestration",
        "cli",
        "sandbox",
        "defs",
        "readiness",
        "assembly",
        "config",
    },
    "flow": {"gateway", "orchestration", "cli", "sandbox", "defs", "assembly"},
    "ledger": {"gateway", "warehouses", "orchestration", "cli", "sandbox", "defs", "assembly"},
    "gateway": {"warehouses", "lineage", "ledger", "orchestration", "cli", "sandbox", "defs", "assembly"},
    "readiness": {"gateway", "warehouses", "lineage", "orchestration", "cli", "sandbox", "defs", "assembly"},
    # The stand-in must not share code with what it stands against, or both would be wrong alike.
    "sandbox": {"flow", "gateway", "ledger", "lineage", "orchestration", "cli", "defs", "assembly", "config"},
}


@dataclass(frozen=True)
class Import:
    module: str
    names: tuple[str, ...]
    lazily: bool
    """Inside a function."""
    for_types: bool
    """Under `if TYPE_CHECKING`."""
    line: int

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    @property
    def targets(self) -> tuple[str, ...]:
        """Every dotted name it may mean: the module, and what is taken from it."""
        return (self.module, *(f"{self.module}.{name}" for name in self.names))


@dataclass(frozen=True)
class Module:
    path: Path

    @property
    def place(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def room(self) -> str:
        return self.path.relative_to(ROOT).parts[0].removesuffix(".py")

    @property
    def name(self) -> str:
        parts = self.path.relative_to(ROOT.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def package(self) -> str:
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=str(self.path))

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        return tuple(self._walk(self.tree, lazily=False, for_types=False))

    def _walk(self, node: ast.AST, *, lazily: bool, for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, (), lazily, for_types, child.lineno)
            elif isinstance(child, ast.ImportFrom):
                module = child.module or ""
                if child.level:
                    base = self.package.split(".")[: len(self.package.split(".")) - child.level + 1]
                    module = ".".join([*base, *([module] if module else [])])
                yield Import(module, tuple(a.name for a in child.names), lazily, for_types, child.lineno)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for statement in child.body:
                    yield from self._walk(ast.Module([statement], []), lazily=lazily, for_types=True)
                for statement in child.orelse:
                    yield from self._walk(ast.Module([statement], []), lazily=lazily, for_types=for_types)
            else:
                inside = lazily or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from self._walk(child, lazily=inside, for_types=for_types)

    @cached_property
    def strings(self) -> frozenset[str]:
        return frozenset(
            node.value for node in ast.walk(self.tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        )


MODULES = tuple(Module(path) for path in sorted(ROOT.rglob("*.py")))
BY_NAME = {module.name: module for module in MODULES}


def offences(wrong) -> list[str]:
    """`file:line module` of every import for which `wrong(module, import)` holds."""
    return [
        f"{module.place}:{found.line} imports {found.module}"
        for module in MODULES
        for found in module.imports
        if wrong(module, found)
    ]


def test_the_checks_see_the_package():
    assert len(MODULES) > 20
    imports = BY_NAME[f"{PACKAGE}.warehouses.duckdb"].imports
    assert any(found.module == "duckdb" and found.lazily for found in imports)
    assert any(found.module == f"{PACKAGE}.model" and not found.lazily for found in imports)


def test_imports_are_seen_wherever_they_hide():
    source = """
import a.b
from . import c
from ..model import d
try:
    import e
except ImportError:
    pass
class K:
    import f
    def m(self):
        if True:
            from g.h import i
if TYPE_CHECKING:
    import j
else:
    import k
"""
    found = list(Module(ROOT / "lineage" / "x.py")._walk(ast.parse(source), lazily=False, for_types=False))
    assert [(f.module, f.names, f.lazily, f.for_types) for f in found] == [
        ("a.b", (), False, False),
        ("mc_push_dagster.lineage", ("c",), False, False),
        ("mc_push_dagster.model", ("d",), False, False),
        ("e", (), False, False),
        ("f", (), False, False),
        ("g.h", ("i",), True, False),
        ("j", (), False, True),
        ("k", (), False, False),
    ]


# Who imports what


def test_only_orchestration_and_the_definitions_import_dagster():
    allowed = {"orchestration", "defs", "definitions"}
    assert not offences(
        lambda module, found: (
            (found.top == "dagster" or found.top.startswith("dagster_"))
            and module.room not in allowed
            and not found.for_types
        )
    )


def test_private_names_of_dagster_are_used_in_one_place_only():
    def private(module: Module, found: Import) -> bool:
        parts = {part for target in found.targets for part in target.split(".")}
        return (
            (found.top == "dagster" or found.top.startswith("dagster_"))
            and any(part.startswith("_") for part in parts)
            and module.place != "orchestration/_compat.py"
        )

    assert not offences(private)


def test_only_the_gateway_imports_pycarlo_and_only_when_it_is_used():
    assert not offences(
        lambda module, found: (
            found.top == "pycarlo" and not found.for_types and not (module.room == "gateway" and found.lazily)
        )
    )


def test_drivers_are_imported_only_inside_functions_of_the_warehouses():
    rooms = {"warehouses", "sandbox"}  # the sandbox builds the demo warehouse
    assert not offences(
        lambda module, found: (
            found.top in DRIVERS and not found.for_types and not (found.lazily and module.room in rooms)
        )
    )


def test_only_the_command_line_and_the_resources_import_the_sandbox():
    def wrong(module: Module, found: Import) -> bool:
        theirs = any(target.startswith(f"{PACKAGE}.sandbox") for target in found.targets)
        return theirs and module.room not in ("sandbox", "cli") and module.place != "orchestration/resources.py"

    assert not offences(wrong)


@pytest.mark.parametrize("place", ["model.py", "version.py"])
def test_the_nouns_import_nothing_of_ours(place):
    assert not offences(lambda module, found: module.place == place and found.top == PACKAGE)


def test_the_errors_know_the_nouns_alone():
    assert not offences(
        lambda module, found: (
            module.place == "errors.py" and found.top == PACKAGE and found.module != f"{PACKAGE}.model"
        )
    )


@pytest.mark.parametrize("room", FORBIDDEN)
def test_data_moves_one_way(room):
    def wrong(module: Module, found: Import) -> bool:
        rooms = {target.split(".")[1] for target in found.targets if target.startswith(f"{PACKAGE}.")}
        return module.room == room and not found.for_types and bool(rooms & FORBIDDEN[room])

    assert not offences(wrong)


def test_the_flow_knows_the_contract_of_warehouses_and_no_engine():
    engines = {m.name for m in MODULES if m.room == "warehouses"} - {
        f"{PACKAGE}.warehouses",
        f"{PACKAGE}.warehouses.base",
    }
    assert not offences(lambda module, found: module.room == "flow" and bool(engines & set(found.targets)))


def test_one_engine_does_not_import_another_unless_it_is_a_kind_of_it():
    """What two share has a file with an underscore: `_thrift`."""
    engines = {place.partition(":")[0]: load(name) for name, place in REGISTRY.items() if place.startswith(PACKAGE)}

    def wrong(module: Module, found: Import) -> bool:
        cls = engines.get(module.name)
        kin = {base.__module__ for base in cls.__mro__} if cls else set()
        return cls is not None and bool((engines.keys() - kin) & set(found.targets))

    assert not offences(wrong)


# What must not be


def test_no_drawer_for_odds_and_ends():
    banned = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "tools"}
    assert not [
        m.place
        for m in MODULES
        if banned & {part.strip("_") for part in m.path.relative_to(ROOT).with_suffix("").parts}
    ]


def test_no_module_is_longer_than_can_be_read():
    long = {m.place: lines for m in MODULES if (lines := m.text.count("\n")) > 400}
    assert not long


def test_no_function_is_longer_than_can_be_read():
    def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
        first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
        return (node.end_lineno or 0) - first.lineno + 1

    long = {
        f"{module.place}:{node.name}": length(node)
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > 60
    }
    assert not long


def test_a_warehouse_is_told_by_its_class_and_not_by_its_name():
    """`if name == "snowflake"` belongs into snowflake.py. Lineage is about dialects, which bear the engines' names."""
    found = [
        f"{module.place}:{node.lineno} {ast.unparse(node)}"
        for module in MODULES
        if module.room not in ("warehouses", "lineage")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Compare | ast.MatchValue)
        for constant in ast.walk(node)
        if isinstance(constant, ast.Constant) and constant.value in set(REGISTRY)
    ]
    assert not found


def test_every_module_is_reached_from_a_door():
    reached: set[str] = set()
    waiting = [PACKAGE, *(f"{PACKAGE}.{door}" for door in ("definitions", "cli", "orchestration", "defs"))]
    while waiting:
        name = waiting.pop()
        module = BY_NAME.get(name)
        if module is None or name in reached:
            continue
        reached.add(name)
        waiting.append(name.rpartition(".")[0])
        waiting += [target for found in module.imports for target in found.targets]
        waiting += [text.partition(":")[0] for text in module.strings if text.startswith(f"{PACKAGE}.")]
        if "import_module" in module.text:  # tables of lazily loaded submodules name them by their last part
            waiting += [f"{module.package}.{text}" for text in module.strings]
    unreached = {m.place for m in MODULES if m.name not in reached}
    assert not unreached


def test_nothing_says_todo():
    words = ("TO" + "DO", "FIX" + "ME", "X" * 3)
    assert not [m.place for m in MODULES if any(f"# {word}" in m.text for word in words)]


# What an import costs


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def brought_by(statement: str) -> set[str]:
    return set(run(f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})").split())


def imported_by(module: str) -> set[str]:
    """Top-level modules that `module` brings; some packages put theirs into every interpreter by a .pth file."""
    return brought_by(f"import {module}") - brought_by("pass")


def test_importing_the_package_brings_nothing_heavy():
    assert not imported_by(PACKAGE) & HEAVY


def test_importing_the_command_line_brings_nothing_heavy():
    assert not imported_by(f"{PACKAGE}.cli") & HEAVY


def test_importing_the_package_takes_under_a_tenth_of_a_second():
    code = f"import time; began = time.process_time(); import {PACKAGE}; print(time.process_time() - began)"
    assert min(float(run(code)) for _ in range(5)) < 0.1


@pytest.mark.parametrize("place", [p for p in REGISTRY.values() if p.startswith(PACKAGE)])
def test_importing_a_warehouse_brings_no_driver_no_dagster_no_pycarlo(place):
    assert not imported_by(place.partition(":")[0]) & (DRIVERS | {"dagster", "pycarlo", "pandas"})


@pytest.mark.parametrize("room", ["config", "flow.collect", "flow.drift", "sandbox.demo"])
def test_importing_a_step_brings_no_driver_no_dagster_no_pycarlo(room):
    assert not imported_by(f"{PACKAGE}.{room}") & (DRIVERS | {"dagster", "pycarlo", "pandas"})
