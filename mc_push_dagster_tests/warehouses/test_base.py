"""The scope that travels into SQL means exactly what `Scope.covers` means."""

from __future__ import annotations

from contextlib import closing

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mc_push_dagster.model import Scope, TablePattern, TableRef
from mc_push_dagster.warehouses.base import Settings, Warehouse, like_pattern, scope_condition

NAMES = st.text(alphabet="abAB*?%_[]\\'\". é", max_size=4)
REFS = st.builds(TableRef, database=NAMES, schema=NAMES, name=NAMES)
PATTERNS = st.builds(TablePattern, database=NAMES, schema=NAMES, name=NAMES) | st.builds(TablePattern, name=NAMES)


@pytest.fixture(scope="module")
def engine():
    with closing(duckdb.connect()) as connection:
        yield connection


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ref=REFS, include=st.lists(PATTERNS, max_size=2), exclude=st.lists(PATTERNS, max_size=2))
def test_condition_in_sql_equals_covers(engine, ref, include, exclude):
    scope = Scope(include=tuple(include), exclude=tuple(exclude))
    values = list(ref.parts)

    def bind(value: str) -> str:
        values.append(value)
        return f"${len(values)}"

    condition = scope_condition(scope, ("$1::VARCHAR", "$2::VARCHAR", "$3::VARCHAR"), bind)
    # DuckDB wants every value named: the first three are compared with nothing where the scope is everything.
    row = engine.execute(f"SELECT {condition}, $1, $2, $3", values).fetchall()[0]
    assert row[0] is scope.covers(ref)


@given(scope=st.builds(Scope, include=st.lists(PATTERNS).map(tuple), exclude=st.lists(PATTERNS).map(tuple)), ref=REFS)
def test_whole_databases_and_schemas_are_passed_over_only_where_nothing_in_them_is_covered(scope, ref):
    if scope.covers(ref):
        assert scope.covers_database(ref.database)
        assert scope.covers_schema(ref.database, ref.schema)


def test_values_never_stand_in_the_sql():
    hostile = TablePattern(database="x' OR 1=1 --", name='"; DROP')
    bound: list[str] = []

    def bind(value: str) -> str:
        bound.append(value)
        return "?"

    condition = scope_condition(Scope(include=(hostile,)), ("a", "b", "c"), bind)
    assert condition == r"((lower(a) LIKE ? ESCAPE '\' AND lower(c) LIKE ? ESCAPE '\'))"
    assert bound == ["x' or 1=1 --", '"; drop']


def test_wildcards_of_like_in_a_name_stand_for_themselves():
    assert like_pattern("100%_A*?") == r"100\%\_a%_"
    assert like_pattern("a%b", escape="!") == "a!%b"


class Closing(Warehouse):
    name = dialect = resource_type = log_type = "closing"
    settings = Settings

    @classmethod
    def from_settings(cls, settings, *, scope):
        raise NotImplementedError

    def tables(self):
        return iter(())

    def columns(self):
        return iter(())


def test_connection_is_closed_when_its_body_fails():
    class Connection:
        closed = False

        def close(self):
            self.closed = True

    opened = Connection()
    with pytest.raises(KeyError), Closing(lambda: opened).connection():
        raise KeyError
    assert opened.closed


def test_a_warehouse_of_two_methods_has_quiet_defaults():
    warehouse = Closing(lambda: None)
    assert list(warehouse.fingerprints()) == list(warehouse.check_access()) == []
    assert warehouse.scope.is_everything
    assert warehouse.quote('a"b') == '"a""b"'
