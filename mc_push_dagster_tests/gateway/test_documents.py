"""Our GraphQL documents against the schema inside the installed pycarlo - the vendor's, not ours."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
from graphql import GraphQLSchema, build_schema, parse, validate

from mc_push_dagster.gateway import documents
from mc_push_dagster_tests.sandbox import schema_from_sdk

LOWEST, NEWEST = "0.12.568", "<0.16"
"""The ends of the range in pyproject.toml."""
ROOT = Path(__file__).parents[2]
SDK_TESTS = ("flow/test_events.py", "gateway/test_documents.py", "gateway/test_ingest.py", "gateway/test_connection.py")


@pytest.fixture(scope="module")
def whole_schema() -> GraphQLSchema:
    types = schema_from_sdk._sdk_types()
    reachable = schema_from_sdk._reachable(types, ("Query", "Mutation"), {})
    return build_schema("\n\n".join(schema_from_sdk._definition(types[name], {}) for name in reachable))


@pytest.mark.parametrize("name", sorted(documents.ALL))
def test_every_document_is_valid_for_the_vendors_schema(whole_schema: GraphQLSchema, name: str) -> None:
    assert [e.message for e in validate(whole_schema, parse(documents.ALL[name]))] == []


# As the product documents print them (push-ingest-api, "Verifying pushed data" and "What to expect").
PRINTED = {
    "getTable": """query GetTable($fullTableId: String!, $dwId: UUID!) {
        getTable(fullTableId: $fullTableId, dwId: $dwId) {
          mcon fullTableId displayName versions { edges { node { fields { name fieldType } } } } } }""",
    "getMetricsV4": """query M($mcon: String!, $metricName: String!, $startTime: DateTime!, $endTime: DateTime) {
        getMetricsV4(dwId: null, mcon: $mcon, metricName: $metricName, startTime: $startTime, endTime: $endTime) {
          metricsJson } }""",
    "getTableLineage": """query L($mcon: String!) { getTableLineage(mcon: $mcon, direction: "upstream", hops: 1) {
          connectedNodes { objectId displayName mcon } flattenedEdges { directlyConnectedMcons } } }""",
    "getAggregatedQueries": """query A($mcon: String!, $startTime: DateTime!, $endTime: DateTime!) {
        getAggregatedQueries(mcon: $mcon, queryType: "read", startTime: $startTime, endTime: $endTime, first: 100) {
          edges { node { queryHash queryCount lastSeen } } pageInfo { hasNextPage endCursor } } }""",
    "thresholds": """query D($mcon: String!) { getTable(mcon: $mcon) { thresholds {
          freshness { lower { value } upper { value } status } size { lower { value } upper { value } status } } } }""",
}


@pytest.mark.parametrize("name", PRINTED)
def test_the_schema_refuses_the_documents_that_are_printed_wrong(whole_schema: GraphQLSchema, name: str) -> None:
    assert validate(whole_schema, parse(PRINTED[name])) != []


def test_the_sdk_under_test_is_the_one_that_was_asked_for() -> None:
    asked = os.environ.get("MC_PUSH_TEST_SDK")
    if asked is None:
        pytest.skip("MC_PUSH_TEST_SDK is set by the test of both ends of the range only")
    import pycarlo

    assert pycarlo.__file__ is not None
    assert Path(pycarlo.__file__).is_relative_to(asked)
    assert importlib.metadata.distribution("pycarlo").locate_file("pycarlo") == Path(asked, "pycarlo")


@pytest.mark.slow
@pytest.mark.parametrize("version", [f"=={LOWEST}", NEWEST])
def test_documents_payloads_and_transport_hold_at_both_ends_of_the_sdks_range(tmp_path: Path, version: str) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path)]
    installed = subprocess.run([*install, f"pycarlo{version}"], capture_output=True, text=True, timeout=120)
    if installed.returncode:
        pytest.skip(f"pycarlo{version} cannot be installed here: {installed.stderr.strip().splitlines()[-1]}")
    tests = [str(ROOT / "mc_push_dagster_tests" / name) for name in SDK_TESTS]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "MC_PUSH_TEST_SDK": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert result.returncode == 0, result.stdout[-4000:]


def test_the_range_in_the_project_file_is_the_one_tested() -> None:
    assert f'"pycarlo>={LOWEST},{NEWEST}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
