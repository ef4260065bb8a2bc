"""Connections to Snowflake: how they are made, what the server sees of them, and what becomes of them when it fails."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from pydantic import ValidationError

from mc_push_dagster.config import parse
from mc_push_dagster.errors import FixAccess, FixConfiguration, MissingExtra, WarehouseUnavailable
from mc_push_dagster.model import Gap, Scope, TableSnapshot, Window
from mc_push_dagster.warehouses.base import Capability
from mc_push_dagster.warehouses.snowflake import Snowflake, SnowflakeOptions, SnowflakeSettings
from mc_push_dagster_tests.snowflake import server
from mc_push_dagster_tests.snowflake.rows import NOW, PASSWORD, logged, opened, put, settings, table
from mc_push_dagster_tests.snowflake.server import Fault

pytest_plugins = ["mc_push_dagster_tests.snowflake.plugin"]

NEVER = float("inf")
DENIED = (2003, "42S02", "SQL compilation error:\nObject does not exist or not authorized.")
WHOLE = Window(start=NOW - timedelta(days=1), end=NOW + timedelta(days=1))


def names(warehouse: Snowflake) -> list[str]:
    return [item.ref.name for item in warehouse.tables() if isinstance(item, TableSnapshot)]


@pytest.fixture
def shop(sf):
    sf.database("D")
    put(sf, table("D", "S", "A"), table("D", "S", "B"))
    return sf


# Settings


BASE = {"account": "a", "user": "u"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "give password"),
        ({"password": "p", "token": "t"}, "give one of password and token"),
        ({"password": "p", "private_key": "k", "key_file": "f"}, "give one of"),
        ({"password": "p", "user": None}, "user is missing"),
        ({"password": "p", "protocol": "http", "host": "example.com"}, "clear text"),
        ({"password": "p", "session_parameters": {"timezone": "Asia/Tokyo"}}, "set by mc-push itself"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_without_their_values(given, said):
    with pytest.raises(ValidationError, match=said) as caught:
        SnowflakeSettings.model_validate(BASE | given)
    assert "'p'" not in str(caught.value)


def test_configuration_says_which_setting_is_wrong_in_one_sentence():
    with pytest.raises(FixConfiguration, match=r"snowflake.*give password"):
        parse({"name": "w", "warehouse": {"type": "snowflake", **BASE}}, source="x").open_warehouse()


def _pem(phrase: bytes | None = None) -> tuple[rsa.RSAPrivateKey, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    how = BestAvailableEncryption(phrase) if phrase else NoEncryption()
    return key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how).decode()


def test_a_private_key_reaches_the_driver_from_text_and_from_a_file_with_a_passphrase(tmp_path: Path):
    key, pem = _pem(b"open sesame")
    file = tmp_path / "key.p8"
    file.write_text(pem)
    phrase = {"private_key_passphrase": "open sesame"}
    for given in ({"private_key": pem}, {"key_file": file}):
        arguments = SnowflakeSettings.model_validate(BASE | given | phrase).arguments()
        loaded = load_der_private_key(arguments["private_key"], None)
        assert loaded.private_numbers() == key.private_numbers()  # type: ignore[union-attr]


@pytest.mark.parametrize("given", [{"private_key": "no key"}, {"key_file": "/does/not/exist"}])
def test_a_key_that_cannot_be_read_is_said_in_one_sentence(given):
    with pytest.raises(FixConfiguration, match="key"):
        SnowflakeSettings.model_validate(BASE | given).arguments()


def test_a_wrong_passphrase_does_not_repeat_key_or_passphrase():
    _, pem = _pem(b"right")
    chosen = SnowflakeSettings.model_validate(BASE | {"private_key": pem, "private_key_passphrase": "wrong-one"})
    with pytest.raises(FixConfiguration) as caught:
        chosen.arguments()
    assert "wrong-one" not in str(caught.value)
    assert pem[40:80] not in str(caught.value)


def test_key_pair_and_oauth_log_in_as_the_driver_does_it(sf):
    _, pem = _pem()
    names(opened(sf, password=None, private_key=pem))
    assert sf.logins[-1]["AUTHENTICATOR"] == "SNOWFLAKE_JWT"
    names(opened(sf, password=None, token="an-oauth-token"))
    assert sf.logins[-1]["AUTHENTICATOR"] == "OAUTH"
    assert sf.logins[-1]["TOKEN"] == "an-oauth-token"


def test_a_session_is_in_utc_tagged_and_bounded_in_time(sf):
    names(opened(sf, timeout_seconds=77, query_tag="ours"))
    seen = sf.logins[-1]["SESSION_PARAMETERS"]
    assert (seen["TIMEZONE"], seen["QUERY_TAG"], seen["STATEMENT_TIMEOUT_IN_SECONDS"]) == ("UTC", "ours", 77)
    assert (seen["ROWS_PER_RESULTSET"], seen["QUOTED_IDENTIFIERS_IGNORE_CASE"]) == (0, False)


def test_a_missing_driver_names_the_extra(monkeypatch, sf):
    monkeypatch.setitem(__import__("sys").modules, "snowflake.connector", None)
    with pytest.raises(MissingExtra, match=r"mc-push-dagster\[snowflake\]"):
        names(opened(sf))


# A user's own resource


@pytest.fixture
def resource(sf):
    from dagster_snowflake import SnowflakeResource

    return SnowflakeResource(
        account="fakesnow",
        user="pusher",
        password=PASSWORD,
        additional_snowflake_connection_args={
            "host": "127.0.0.1",
            "port": sf.port,
            "protocol": "http",
            "session_parameters": {
                "CLIENT_TELEMETRY_ENABLED": False,
                "CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False,
            },
        },
    )


def test_a_users_own_dagster_resource_serves(shop, resource):
    scope = Scope()
    shop.fill("ACCOUNT_USAGE", "QUERY_HISTORY", [logged("q", "select '100%'", NOW)])
    warehouse = Snowflake.over(resource, scope=scope, options=SnowflakeOptions(timeout_seconds=20))
    assert names(warehouse) == ["A", "B"]
    assert [q.text for q in warehouse.queries(WHOLE)] == ["select '100%'"]
    assert all(a.granted for a in warehouse.check_access())
    (first, *_) = shop.asked("ALTER SESSION")
    assert first == (
        "ALTER SESSION SET QUERY_TAG = 'mc-push-dagster' TIMEZONE = 'UTC' TIMESTAMP_INPUT_FORMAT = 'AUTO' "
        "QUOTED_IDENTIFIERS_IGNORE_CASE = FALSE ROWS_PER_RESULTSET = 0 STATEMENT_TIMEOUT_IN_SECONDS = 20"
    )
    assert not shop.open_sessions
    assert not shop.asked("COMMIT")


def test_its_connection_is_closed_where_the_resource_itself_leaves_it_open(shop, resource):
    shop.faults.append(Fault(on="SHOW DATABASES", error=(1003, "42000", "syntax error")))
    with pytest.raises(Exception, match="syntax error"):
        names(Snowflake.over(resource))
    assert not shop.open_sessions


def test_it_is_closed_when_the_session_statement_fails(shop, resource):
    shop.faults.append(Fault(on="ALTER SESSION", error=(3001, "42501", "no")))
    with pytest.raises(FixAccess):
        names(Snowflake.over(resource))
    assert not shop.open_sessions


def test_values_are_bound_in_a_resources_own_parameter_style(shop, resource):
    from mc_push_dagster.model import TablePattern

    put(shop, table("D", "S", "it's %s"))
    scope = Scope(include=(TablePattern(database="D", name="it's %s"),))
    assert names(Snowflake.over(resource, scope=scope)) == ["it's %s"]
    shop.database("per%cent")
    put(shop, table("per%cent", "S", "T"))
    assert names(Snowflake.over(resource, scope=Scope(include=(TablePattern(database="per%cent", name="t"),)))) == ["T"]


def test_a_component_takes_the_resource_with_reading_options_alone(shop, resource):
    from mc_push_dagster.orchestration.resources import warehouse_over

    chosen = {"type": "snowflake", "tags": False, "timeout_seconds": 20}
    warehouse = warehouse_over(parse({"name": "w", "warehouse": chosen}, source="test"), resource)
    assert names(warehouse) == ["A", "B"]
    assert not shop.asked("TAG_REFERENCES")
    with pytest.raises(FixConfiguration, match=r"account"):
        warehouse_over(parse({"name": "w", "warehouse": {**chosen, "account": "x"}}, source="test"), resource)


def test_a_function_that_opens_a_connection_serves_as_well(shop):
    import snowflake.connector

    arguments = settings(shop).arguments()
    assert names(Snowflake.over(lambda: snowflake.connector.connect(**arguments))) == ["A", "B"]
    assert not shop.open_sessions
    with pytest.raises(FixConfiguration, match=r"has neither get_connection"):
        Snowflake.over("no resource")


def test_a_resource_with_a_connection_of_another_kind_is_refused_and_closed():
    left = []

    class Other:
        def cursor(self):
            raise AssertionError("never used")

    class Resource:
        @contextmanager
        def get_connection(self):
            try:
                yield Other()
            finally:
                left.append(True)

    with pytest.raises(FixConfiguration, match="connector"):
        names(Snowflake.over(Resource()))
    assert left == [True]


def test_a_pooled_connection_is_taken_out_of_its_pool_and_closed():
    done = []

    class Pooled:
        is_pyformat = True

        def cursor(self):
            class Cursor:
                description = (("name",),)

                def execute(self, *_: object, **__: object) -> None: ...
                def __iter__(self):
                    return iter(())

                def close(self) -> None: ...

            return Cursor()

        def detach(self) -> None:
            done.append("detached")

        def close(self) -> None:
            done.append("closed")

    class Resource:
        @contextmanager
        def get_connection(self):
            yield Pooled()

    assert names(Snowflake.over(Resource())) == []
    assert done == ["detached", "closed"]


# Faults


def test_a_wrong_password_is_a_matter_of_access_and_costs_one_login(sf):
    sf.login_error = (390100, "Incorrect username or password was specified.")
    with pytest.raises(FixAccess, match=r"refused the login.*Incorrect username") as caught:
        names(opened(sf))
    assert PASSWORD not in str(caught.value)
    assert len(sf.logins) == 1


@pytest.mark.parametrize("status", [503, 429])
def test_a_busy_server_is_asked_again_and_nothing_is_missing(shop, status):
    shop.faults.append(Fault(on="TABLES AS t", times=1, status=status))
    assert names(opened(shop)) == ["A", "B"]
    assert shop.refused == 1


@pytest.mark.parametrize("status", [503, 429])
def test_a_server_that_stays_busy_ends_the_read_within_its_time(shop, status):
    shop.faults.append(Fault(on="TABLES AS t", times=NEVER, status=status))
    started = time.monotonic()
    with pytest.raises(WarehouseUnavailable):
        names(opened(shop, timeout_seconds=1))
    assert time.monotonic() - started < 12
    assert not shop.open_sessions


def test_a_login_that_finds_nobody_ends_within_its_time(sf):
    started = time.monotonic()
    with pytest.raises(WarehouseUnavailable):
        names(opened(sf, port=1, login_timeout_seconds=2))
    assert time.monotonic() - started < 12


def test_an_unknown_account_says_so(sf):
    sf.login_error = (403, "")
    with pytest.raises(FixConfiguration, match="check `account`"):
        names(opened(sf, login_timeout_seconds=2))


def test_an_expired_session_token_is_renewed_in_the_middle_of_a_read(shop):
    shop.faults.append(Fault(on="TABLES AS t", expire_token=True))
    assert names(opened(shop)) == ["A", "B"]
    assert len(shop.logins) == 1
    assert not shop.open_sessions


def test_a_lost_session_is_replaced_between_two_statements(shop):
    shop.database("E")
    put(shop, table("E", "S", "C"))
    shop.faults.append(Fault(on='"E".INFORMATION_SCHEMA', lose_session=True))
    assert names(opened(shop)) == ["A", "B", "C"]
    assert len(shop.logins) == 2


def test_a_result_that_breaks_off_is_taken_up_where_it_stopped(sf, monkeypatch):
    import snowflake.connector.result_batch as batches

    # The driver asks ten times for a chunk and waits up to 16 s between; here it asks once.
    monkeypatch.setattr(batches, "MAX_DOWNLOAD_RETRY", 1)
    sf.database("D")
    put(sf, *(table("D", "S", f"T{i:03}") for i in range(100)))
    sf.chunk_rows = 10
    sf.broken_chunks = 1
    assert names(opened(sf)) == [f"T{i:03}" for i in range(100)]
    assert len(sf.asked("TABLES AS t")) == 2


def test_a_session_lost_by_one_statement_does_not_spoil_the_other_that_is_being_read(sf):
    sf.database("D")
    first = table("D", "S", "T000", table_type="MATERIALIZED VIEW")
    put(sf, first, *(table("D", "S", f"T{i:03}") for i in range(1, 100)))
    sf.chunk_rows = 10
    sf.faults.append(Fault(on="SHOW MATERIALIZED", lose_session=True))
    assert names(opened(sf)) == [f"T{i:03}" for i in range(100)]
    assert not sf.open_sessions & set(server.fakesnow_server.sessions)


def test_a_result_that_keeps_breaking_off_is_an_error_not_a_shorter_result(sf, monkeypatch):
    import snowflake.connector.result_batch as batches

    monkeypatch.setattr(batches, "MAX_DOWNLOAD_RETRY", 1)
    sf.database("D")
    put(sf, *(table("D", "S", f"T{i:03}") for i in range(100)))
    sf.chunk_rows = 10
    sf.broken_chunks = 10_000
    with pytest.raises(WarehouseUnavailable):
        names(opened(sf))
    assert len(sf.asked("TABLES AS t")) == 3


# Threads


def test_each_read_has_a_connection_of_its_own_so_that_threads_share_none(shop):
    warehouse = opened(shop)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: names(warehouse), range(8))) == [["A", "B"]] * 8
    assert len(shop.logins) == 8
    assert not shop.open_sessions


# Doctor


def test_each_capability_is_checked_by_itself_and_names_its_grant(shop):
    for view in ("TAG_REFERENCES", "QUERY_HISTORY"):
        shop.faults.append(Fault(on=view, times=NEVER, error=DENIED))
    seen = {a.capability: a for a in opened(shop, role="PUSH ROLE").check_access()}
    assert not seen[Capability.TAGS].granted
    assert not seen[Capability.QUERY_LOG].granted
    assert "GRANT DATABASE ROLE SNOWFLAKE.GOVERNANCE_VIEWER TO ROLE" in seen[Capability.QUERY_LOG].detail
    assert '"PUSH ROLE"' in seen[Capability.QUERY_LOG].detail
    assert seen[Capability.SCHEMA].granted
    assert seen[Capability.COLUMN_LINEAGE].granted
    assert set(seen) == set(Capability)


def test_a_database_that_cannot_be_read_is_named_with_its_grants(shop):
    shop.database("SHUT", "EMPTY")
    shop.faults.append(Fault(on='"SHUT"', times=NEVER, error=DENIED))
    refused = [a.detail for a in opened(shop).check_access() if not a.granted]
    assert any('GRANT USAGE ON DATABASE "SHUT"' in detail for detail in refused)
    assert any('GRANT REFERENCES ON ALL TABLES IN DATABASE "EMPTY"' in detail for detail in refused)


def test_no_visible_database_is_said_for_each_part_of_the_catalog(sf):
    refused = {a.capability for a in opened(sf).check_access() if not a.granted}
    assert Capability.SCHEMA in refused
    assert Capability.DRIFT in refused
    assert Capability.QUERY_LOG not in refused


def test_databases_that_cannot_be_listed_are_an_answer_not_an_exception(shop):
    shop.faults.append(Fault(on="SHOW DATABASES", times=NEVER, error=(3001, "42501", "Insufficient privileges")))
    seen = {a.capability: a for a in opened(shop).check_access()}
    assert "Insufficient privileges" in seen[Capability.SCHEMA].detail
    assert seen[Capability.QUERY_LOG].granted


def test_access_in_account_usage_mode_asks_its_own_views(sf):
    sf.faults.append(Fault(on="ACCOUNT_USAGE.COLUMNS", times=NEVER, error=DENIED))
    seen = {a.capability: a for a in opened(sf, catalog="account_usage").check_access()}
    assert "OBJECT_VIEWER" in seen[Capability.SCHEMA].detail
    assert not seen[Capability.SCHEMA].granted
    assert not sf.asked("INFORMATION_SCHEMA")


def test_gaps_and_errors_never_hold_the_password(shop):
    shop.faults.append(Fault(on="INFORMATION_SCHEMA", times=NEVER, error=DENIED))
    for item in opened(shop).tables():
        assert PASSWORD not in repr(item)
        assert isinstance(item, Gap)
    assert PASSWORD not in repr(settings(shop))
