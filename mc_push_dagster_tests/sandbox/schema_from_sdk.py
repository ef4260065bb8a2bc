"""The sandbox's GraphQL schema, cut out of the schema inside the installed pycarlo.

    python mc_push_dagster_tests/sandbox/schema_from_sdk.py --write    writes mc_push_dagster/sandbox/schema.graphql
    python mc_push_dagster_tests/sandbox/schema_from_sdk.py            prints it

A test compares the file with what this yields: an SDK upgrade that changes the contract is seen there. To serve another
field, name it below and write the file anew.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[2] / "mc_push_dagster" / "sandbox" / "schema.graphql"

QUERIES = (
    "getUser",
    "getTable",
    "getTables",
    "getMetricsV4",
    "getTableLineage",
    "getDerivedTablesPartialLineage",
    "getAggregatedQueries",
    "getIntegrationKeys",
)
MUTATIONS = (
    "createIntegrationKey",
    "deleteIntegrationKey",
    "createOrUpdateCustomIntegration",
    "testSparkCredentials",
    "createOrUpdateLineageNode",
    "createOrUpdateLineageEdge",
    "deleteLineageNode",
    "deletePushIngestedTables",
)
KEEP: dict[str, set[str]] = {
    "User": {"id", "email", "firstName", "lastName", "displayName", "account"},
    # More than we read ourselves: the `montecarlo` command asks for all of it before it does anything.
    "Account": {
        *("id", "uuid", "name", "warehouses", "activeCollectionRegions", "bi", "etlContainers", "tableauAccounts"),
        "dataCollectors",
    },
    "Warehouse": {
        *("id", "uuid", "name", "connectionType", "createdOn", "isDeleted", "pushEvents", "connections"),
        "dataCollector",
    },
    "BiContainer": {"id", "uuid", "name", "connections", "dataCollector"},
    "EtlContainer": {"id", "uuid", "name", "connections", "dataCollector"},
    "DataCollector": {
        *("id", "uuid", "name", "active", "stackArn", "customerAwsAccountId", "customerAwsRegion", "templateProvider"),
        *("templateVariant", "templateVersion", "codeVersion", "lastUpdated", "agents"),
    },
    "Agent": {
        *("id", "uuid", "agentType", "platform", "storageType", "endpoint", "createdTime", "isDeleted"),
        *("imageVersion", "lastUpdatedTime"),
    },
    "ConnectionIdentifier": {"key", "name", "value"},
    "WarehouseTable": {
        *("id", "mcon", "tableId", "fullTableId", "warehouse", "friendlyName", "projectName", "dataset", "description"),
        *("tableType", "createdTime", "viewQuery", "isDeleted", "deletedAt", "discoveredTime", "lastObserved"),
        *("ingestType", "ingestInvocationId", "lastUpdatedOn", "versions", "thresholds"),
    },
    "TableSchemaVersion": {"id", "versionId", "timestamp", "fields"},
    "TableField": {"id", "name", "fieldType", "description"},
    "ThresholdsData": {"freshness", "size"},
    "Freshness": {"status", "reason", "expected", "breach", "lastUpdate"},
    "Size": {
        *("metric", "ucsStatus", "ucsReason", "ucsLower", "ucsUpper"),
        *("sdStatus", "sdReason", "sdLower", "sdUpper"),
    },
    "LineageGraphNode": {
        *("mcon", "displayName", "objectType", "isCustom", "expireAt", "hasDownstreamNodes", "hasUpstreamNodes"),
    },
    "FlattenedLineageGraphEdges": {"mcon", "directlyConnectedMcons"},
    "LineageGraphEdge": {"source", "destination", "isCustom", "expireAt"},
    "TableMetricV2": {"fullTableId", "metric", "value", "timestamp", "measurementTimestamp"},
    "IntegrationKeyMetadata": {"id", "description", "scope", "warehouses", "createdTime", "createdBy"},
    "Connection": {
        *("id", "uuid", "type", "name", "jobTypes", "createdOn", "isActive", "disabledOn", "connectionIdentifiers"),
    },
}
_BUILT_IN = {"Int", "Float", "String", "Boolean", "ID"}


def subset() -> str:
    """The part of the SDK's schema that the sandbox serves, as GraphQL schema language."""
    types = _sdk_types()
    roots = {"Query": QUERIES, "Mutation": MUTATIONS}
    keep: dict[str, Collection[str]] = {**KEEP, **roots}
    for name, wanted in keep.items():
        if missing := set(wanted) - {f.graphql_name for f in types[name]}:
            raise KeyError(f"{name} has no field {sorted(missing)}")
    return "\n\n".join(_definition(types[name], keep) for name in _reachable(types, roots, keep)) + "\n"


def _sdk_types() -> dict[str, Any]:
    # Importing the schema prints a warning for each enum default that is not among the enum's values.
    noisy = logging.getLogger("pycarlo.lib.types")
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    try:
        from pycarlo.lib import schema
    finally:
        noisy.setLevel(level)
    return {t.__name__: t for t in schema.schema}


def _reachable(types: Mapping[str, Any], roots: Collection[str], keep: Mapping[str, Collection[str]]) -> list[str]:
    found: dict[str, None] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop(0)
        if name in found or name in _BUILT_IN:
            continue
        found[name] = None
        waiting += _neighbours(types[name], keep)
    return list(found)


def _neighbours(kind: Any, keep: Mapping[str, Collection[str]]) -> Iterator[str]:
    if kind.__kind__ in ("type", "interface"):
        yield from (i.__name__ for i in kind.__interfaces__)
    if kind.__kind__ in ("type", "interface", "input"):
        for field in _fields(kind, keep):
            yield _base(field.type)
            yield from (_base(a.type) for a in getattr(field, "args", {}).values())
    if kind.__kind__ == "union":
        yield from (t.__name__ for t in kind.__types__)


def _fields(kind: Any, keep: Mapping[str, Collection[str]]) -> list[Any]:
    wanted = keep.get(kind.__name__)
    fields = [f for f in kind if wanted is None or f.graphql_name in wanted]
    own = getattr(kind, "__field_names__", None)
    if kind.__name__.endswith("Connection") and own:
        # sgqlc adds pageInfo to whatever is named *Connection.
        fields = [f for f in fields if f.name in own]
    return list({f.graphql_name: f for f in fields}.values())


def _definition(kind: Any, keep: Mapping[str, Collection[str]]) -> str:
    name, what = kind.__name__, kind.__kind__
    if what == "scalar":
        return f"scalar {name}"
    if what == "enum":
        return f"enum {name} {{\n  " + "\n  ".join(kind.__choices__) + "\n}"
    if what == "union":
        return f"union {name} = " + " | ".join(t.__name__ for t in kind.__types__)
    implements = ""
    if what in ("type", "interface") and kind.__interfaces__:
        implements = " implements " + " & ".join(i.__name__ for i in kind.__interfaces__)
    return f"{what} {name}{implements} {{\n" + "\n".join(_field(f) for f in _fields(kind, keep)) + "\n}"


def _field(field: Any) -> str:
    args = [_argument(a) for a in getattr(field, "args", {}).values()]
    return f"  {field.graphql_name}{'(' + ', '.join(args) + ')' if args else ''}: {field.type.__name__}"


def _argument(argument: Any) -> str:
    text = f"{argument.graphql_name}: {argument.type.__name__}"
    if argument.default is None:
        return text
    base = next((t for t in argument.type.__mro__ if t.__name__ == _base(argument.type)), None)
    if base is not None and base.__kind__ == "enum":
        # sgqlc keeps an enum's default as text, also where the enum has no such value.
        return f"{text} = {argument.default}" if argument.default in base.__choices__ else text
    return f"{text} = {json.dumps(argument.default)}"


def _base(kind: Any) -> str:
    return kind.__name__.translate({ord(c): None for c in "[]!"})


if __name__ == "__main__":
    if "--write" in sys.argv:
        FILE.write_text(subset(), encoding="utf-8")
    else:
        print(subset(), end="")
