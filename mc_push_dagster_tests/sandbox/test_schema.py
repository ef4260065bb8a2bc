"""The schema the sandbox serves is the SDK's, and only part of it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from graphql import GraphQLObjectType, parse, validate, validate_schema

from mc_push_dagster.sandbox.graphql import schema
from mc_push_dagster.sandbox.resolvers import RESOLVERS

SCRIPT = runpy.run_path(str(Path(__file__).with_name("schema_from_sdk.py")))


def test_the_schema_file_is_what_the_installed_sdk_yields() -> None:
    yielded = SCRIPT["subset"]()
    assert SCRIPT["FILE"].read_text(encoding="utf-8") == yielded, (
        "run schema_from_sdk.py --write and read the difference"
    )


def test_the_subset_is_a_valid_schema() -> None:
    assert validate_schema(schema()) == []


def test_every_root_field_has_a_resolver() -> None:
    for kind in (schema().query_type, schema().mutation_type):
        assert isinstance(kind, GraphQLObjectType)
        assert [f for f in kind.fields if f"{kind.name}.{f}" not in RESOLVERS] == []


@pytest.mark.parametrize(
    "document",
    [
        '{ getTable(mcon: "x") { displayName } }',
        '{ getTable(mcon: "x") { versions { edges { node { fields { name fieldType } } } } } }',
        '{ getMetricsV4(dwId: null, mcon: "x", metricName: "a", startTime: "2026-01-01") { metricsJson } }',
        '{ getTableLineage(mcon: "x", direction: "upstream") { connectedNodes { objectId } } }',
        '{ getAggregatedQueries(mcon: "x", queryType: "read", startTime: "2026-01-01", endTime: "2026-01-02", first: 1)'
        " { edges { node { queryHash } } } }",
        '{ getTable(mcon: "x") { thresholds { freshness { lower { value } } } } }',
    ],
)
def test_documents_of_the_product_page_that_its_own_schema_refuses_are_refused(document: str) -> None:
    assert validate(schema(), parse(document)) != []
