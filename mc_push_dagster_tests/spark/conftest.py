"""The real Spark Thrift Server, one a test session; every test takes databases of its own."""

from __future__ import annotations

import pytest

from mc_push_dagster_tests.spark.engine import Engine, running


@pytest.fixture(scope="session")
def engine() -> Engine:
    return running()


@pytest.fixture(scope="session")
def iceberg(engine: Engine) -> Engine:
    if not engine.iceberg:
        pytest.skip("needs the Iceberg jar for Spark 3.5 (package snowpark-connect-deps-iceberg)")
    return engine
