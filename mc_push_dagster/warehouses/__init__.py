"""Door in: one file an engine, loaded only when it is used.

Third parties add a warehouse with an entry point in the group `mc_push_dagster.warehouses`: its name is the registry
name, its value `module:Class`, the class a subclass of `mc_push_dagster.warehouses.base.Warehouse`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from mc_push_dagster.errors import BrokenContract, FixConfiguration

if TYPE_CHECKING:
    from mc_push_dagster.warehouses.base import Warehouse

ENTRY_POINT_GROUP = "mc_push_dagster.warehouses"


class Registry(Mapping[str, str]):
    """Names of warehouses and where their classes are: `{"duckdb": "mc_push_dagster.warehouses.duckdb:DuckDB"}`.

    Ours win over a third party's of the same name. Reading the mapping imports no warehouse.
    """

    def __init__(self, ours: Mapping[str, str]) -> None:
        self._ours = dict(ours)

    @cached_property
    def _all(self) -> dict[str, str]:
        return {point.name: point.value for point in entry_points(group=ENTRY_POINT_GROUP)} | self._ours

    def __getitem__(self, name: str) -> str:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._all))

    def __len__(self) -> int:
        return len(self._all)


REGISTRY: Mapping[str, str] = Registry(
    {
        "bigquery": "mc_push_dagster.warehouses.bigquery:BigQuery",
        "bigquery_iceberg": "mc_push_dagster.warehouses.bigquery:BigQueryIceberg",
        "duckdb": "mc_push_dagster.warehouses.duckdb:DuckDB",
        "hive": "mc_push_dagster.warehouses.hive:Hive",
        "spark": "mc_push_dagster.warehouses.spark:Spark",
        "snowflake": "mc_push_dagster.warehouses.snowflake:Snowflake",
    }
)


def load(name: str) -> type[Warehouse]:
    """Return the class of the warehouse type `name`.

    Raises:
        FixConfiguration: if there is no such type.
        BrokenContract: if what a third party registered cannot be imported or is no `Warehouse`.
    """
    from mc_push_dagster.warehouses.base import Warehouse

    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise FixConfiguration(f"no warehouse type {name!r}: {hint}known types are {', '.join(REGISTRY)}")
    module, _, attribute = REGISTRY[name].partition(":")
    try:
        cls = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BrokenContract(f"warehouse type {name!r} cannot be loaded from {REGISTRY[name]!r}: {error}") from error
    if not (isinstance(cls, type) and issubclass(cls, Warehouse)):
        raise BrokenContract(f"warehouse type {name!r}: {REGISTRY[name]!r} is not a Warehouse")
    return cls
