"""The scores on the labelled corpora beside the checkout do not fall (see benchmarks/lineage_corpora.py)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from mc_push_dagster.lineage.cases import answer
from mc_push_dagster_tests.benchmarks.lineage_scoring import (
    CORPORA,
    agreement,
    bound_tables,
    failures,
    load,
    plain,
    score,
    total,
)

pytestmark = pytest.mark.skipif(not CORPORA.is_dir(), reason="the lineage corpora are not beside the checkout")


def test_labelled_corpora() -> None:
    scores = score(answer)
    tables = total(t for t, _ in scores.values())
    columns = total(c for _, c in scores.values())
    assert (tables.exact_share, tables.precision) >= (0.98, 0.99), tables.wrong
    assert tables.precision >= 0.99
    assert columns.exact_share >= 0.95, columns.wrong
    assert columns.precision >= 0.97


def test_one_query_in_three_dialects_has_one_lineage() -> None:
    found = agreement(answer)
    assert (found.tables_equal, found.columns_equal) == (found.keys, found.keys), found.differences


@pytest.mark.parametrize("corpus", ["tpcds", "tpch"])
def test_queries_read_the_tables_that_duckdb_binds(corpus: str) -> None:
    exact, cases, wrong = bound_tables(answer, corpus)
    assert exact == cases, wrong


def test_production_queries_are_all_understood_and_quickly() -> None:
    slowest = 0.0

    def timed(case: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal slowest
        start = time.perf_counter()
        found = answer(case)
        slowest = max(slowest, time.perf_counter() - start)
        return found

    assert list(failures("bigquery_etl", timed)) == []
    assert slowest < 3


def test_a_views_text_leads_into_the_view() -> None:
    for case in load("bigquery_etl"):
        if case["kind"] == "view.sql":
            assert [plain(name) for name in answer(case)["outputs"]] == [plain(case["dest"])]
