"""What can go wrong between us and a Thrift server is told in one sentence, by what the user does next."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mc_push_dagster.config import parse
from mc_push_dagster.errors import FixAccess, FixConfiguration, PushError, WarehouseUnavailable
from mc_push_dagster.flow.collect import snapshots
from mc_push_dagster.model import Gap, Scope, TablePattern
from mc_push_dagster.warehouses._spark_catalog import name_patterns, quote, unquoted
from mc_push_dagster.warehouses._thrift import Session, StatementError, first_sentence, pattern
from mc_push_dagster.warehouses.spark import Spark, SparkOptions, SparkSettings
from mc_push_dagster_tests.spark.engine import free_port
from mc_push_dagster_tests.spark.replay import Answers, RefusedError, died, over_binary, over_http

INFORMATION = (
    "Catalog: spark_catalog\nDatabase: d\nTable: {name}\nOwner: etl\nCreated Time: Fri Nov 20 23:09:20 UTC 2026\n"
    "Last Access: UNKNOWN\nCreated By: Spark 3.5.9\nType: MANAGED\nProvider: parquet\nLocation: file:/x\n"
    "Schema: root\n |-- a: integer (nullable = true)\n\n"
)


def column(table: str, name: str = "a", ordinal: int = 0) -> tuple:
    return (None, "d", table, name, 4, "INT", 4, None, None, 10, 1, "", None, None, None, None, ordinal, "YES")


class Lakehouse:
    """A database `d` whose tables are made up; `bad` ones fail every call that touches them, as a real server does."""

    def __init__(self, names: list[str], bad: frozenset[str] = frozenset()) -> None:
        self.names = names
        self.bad = bad
        self.answers = Answers(self.answer, columns=self.columns, tables=lambda p: [])

    def answer(self, sql: str) -> list[tuple]:
        if sql == "SHOW DATABASES":
            return [("d",)]
        if sql == "SHOW TABLES IN `d`":
            return [("d", name, False) for name in self.names]
        like = sql.partition("LIKE '")[2].rstrip("'")
        return [("d", name, False, INFORMATION.format(name=name)) for name in self.chosen(like, "*")]

    def columns(self, like: str) -> list[tuple]:
        return [column(name) for name in self.chosen(like.replace(r"\_", "_"), "%")]

    def chosen(self, like: str, everything: str) -> list[str]:
        wanted = self.names if like == everything else [n for n in self.names if n in like.split("|")]
        if self.bad & set(wanted):
            raise RefusedError("Error running query: [PARSE_SYNTAX_ERROR] cannot parse uniontype")
        return wanted


def spark(url: str, scope: Scope = Scope(), **more) -> Spark:  # noqa: B008 - frozen
    given = {"url": url, "username": "alice", "password": "pw", "timeout_seconds": 5} | more
    return Spark.from_settings(SparkSettings(**given), scope=scope)


# Who we are and where


def test_a_wrong_password_is_told_as_such():
    with (
        over_http(Answers(lambda sql: [])) as url,
        pytest.raises(FixAccess, match=r"refuses the user or the password \(HTTP 401\)"),
    ):
        list(spark(url, password="wrong").tables())


def test_a_wrong_path_is_told_as_such():
    with (
        over_http(Answers(lambda sql: [])) as url,
        pytest.raises(FixConfiguration, match=r"no Thrift server on this path \(HTTP 404\)"),
    ):
        list(spark(url + "x").tables())


def test_no_error_and_no_representation_holds_the_password():
    with over_http(Answers(lambda sql: [])) as url:
        warehouse = spark(url, password="hunter2-secret")
        with pytest.raises(FixAccess) as caught:
            list(warehouse.tables())
    for text in (str(caught.value), repr(warehouse), str(vars(warehouse)), repr(warehouse._settings)):
        assert "hunter2-secret" not in text


def test_a_port_where_nobody_listens_is_unavailable():
    with pytest.raises(WarehouseUnavailable, match=r"127\.0\.0\.1:\d+/cliservice cannot be reached"):
        list(spark(f"http://127.0.0.1:{free_port()}/cliservice").tables())
    binary = SparkSettings(host="127.0.0.1", port=free_port(), auth="NOSASL")
    with pytest.raises(WarehouseUnavailable, match="cannot be reached"):
        binary.connect()


@contextmanager
def listener(talk) -> Iterator[int]:
    """A server that does with each connection what `talk` says."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(5)
    over = threading.Event()

    def accept() -> None:
        while True:
            connection, _ = server.accept()
            with connection:
                if over.is_set():
                    return
                connection.settimeout(5)
                talk(connection)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        # Closing does not wake accept(); a last connection does.
        over.set()
        with closing(socket.socket()) as last:
            last.connect(server.getsockname())
        thread.join(5)
        server.close()


def sasl_refusal(connection: socket.socket) -> None:
    """HiveServer2's answer to a wrong LDAP password: SASL status BAD and a message."""
    stream = connection.makefile("rb")
    for _ in ("mechanism", "credentials"):
        header = stream.read(5)
        stream.read(int.from_bytes(header[1:], "big"))
    message = b"Error validating LDAP user"
    connection.sendall(bytes([3]) + len(message).to_bytes(4, "big") + message)


def test_a_wrong_password_of_the_binary_protocol_is_told_as_such():
    with listener(sasl_refusal) as port:
        settings = SparkSettings(
            host="127.0.0.1", port=port, auth="LDAP", username="a", password="b", timeout_seconds=5
        )
        with pytest.raises(FixAccess, match="refuses the user or the password"):
            settings.connect()


def test_a_server_that_hangs_up_hints_at_the_settings():
    with listener(lambda connection: connection.recv(10)) as port:
        settings = SparkSettings(host="127.0.0.1", port=port, auth="NOSASL", timeout_seconds=5)
        with pytest.raises(WarehouseUnavailable, match="`auth` does not match"):
            settings.connect()


def test_a_server_that_never_answers_ends_by_the_timeout():
    hold = threading.Event()
    with listener(lambda connection: hold.wait(3)) as port:
        with pytest.raises(WarehouseUnavailable, match="timeout_seconds"):
            SparkSettings(host="127.0.0.1", port=port, auth="NOSASL", timeout_seconds=0.2).connect()
        with pytest.raises(WarehouseUnavailable, match="timeout_seconds"):
            list(spark(f"http://127.0.0.1:{port}/x", timeout_seconds=0.2).tables())
        hold.set()


def test_a_server_that_closes_http_without_an_answer_hints_at_tls():
    with (
        listener(lambda connection: connection.recv(10)) as port,
        pytest.raises(WarehouseUnavailable, match="https://"),
    ):
        list(spark(f"http://127.0.0.1:{port}/x").tables())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    path = folder / "server.pem"
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost "
        f"-keyout {path} -out {folder / 'cert.pem'}",
        shell=True,
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + (folder / "cert.pem").read_bytes())
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_certificates_are_verified_unless_the_user_says_otherwise(certificate):
    lake = Lakehouse(["t"])
    with over_http(lake.answers, tls=server_tls(certificate)) as url:
        with pytest.raises(FixConfiguration, match=r"certificate is not trusted.*`ca_file`"):
            list(spark(url).tables())
        trusted = spark(url, ca_file=str(certificate))
        assert [t.ref.name for t in trusted.tables() if not isinstance(t, Gap)] == ["t"]
        assert len(list(spark(url, verify=False).tables())) == 1
        elsewhere = url.replace("localhost", "127.0.0.1")  # the certificate is not made out to the address
        with pytest.raises(FixConfiguration, match="not trusted"):
            list(spark(elsewhere, ca_file=str(certificate)).tables())


def test_https_to_a_plain_server_and_http_to_a_tls_server_are_told(certificate):
    with over_http(Answers(lambda sql: [])) as url, pytest.raises(FixConfiguration, match="does not speak TLS"):
        list(spark(url.replace("http://", "https://")).tables())
    with over_http(Answers(lambda sql: []), tls=server_tls(certificate)) as url, pytest.raises(PushError, match="TLS"):
        list(spark(url.replace("https://", "http://")).tables())


# Settings


def test_a_users_own_connections_serve_without_an_address_of_ours():
    """Any factory of pyhive connections: a Dagster resource, a pool, a function."""
    lake = Lakehouse(["t"])
    with over_http(lake.answers) as url:
        mine = SparkSettings.model_validate({"url": url, "username": "alice", "password": "pw"})
        lent = Spark.over(mine.connect, options=SparkOptions(names="hive"))
        [table] = [item for item in snapshots(lent) if not isinstance(item, Gap)]
        assert (table.ref.database, table.ref.schema) == ("d", "d")
        assert len(list(Spark(mine.connect).tables())) == 1
    with pytest.raises(FixConfiguration, match="set `url` or `host`"):
        list(Spark.from_settings(SparkOptions(), scope=Scope()).tables())


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "set either `url`"),
        ({"url": "http://h/x", "host": "h"}, "set either `url`"),
        ({"url": "http://h/x"}, "HTTP needs `username` and `password`"),
        ({"url": "ftp://h/x", "username": "a", "password": "b"}, "http://host:port/path"),
        ({"url": "http://u:p@h/x", "username": "a", "password": "b"}, "do not belong in the address"),
        ({"host": "h", "auth": "LDAP"}, "auth ldap needs `username` and `password`"),
        ({"host": "h", "server_time_zone": "Mars/Olympus"}, "no time zone"),
        ({"host": "h", "names": "other"}, "names: input should be"),
    ],
)
def test_wrong_settings_are_told_in_one_sentence(given, sentence):
    config = parse({"name": "lake", "warehouse": {"type": "spark", **given}}, source="test")
    with pytest.raises(FixConfiguration) as caught:
        config.open_warehouse()
    assert sentence.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)


def test_kerberos_without_its_library_names_it():
    settings = SparkSettings(host="127.0.0.1", auth="KERBEROS")
    with pytest.raises(FixConfiguration, match="kerberos"):
        settings.connect()


# Reading around what fails


def test_tables_that_the_server_cannot_describe_are_isolated_and_the_rest_is_read():
    names = sorted(f"t_{n:04d}" for n in range(1200))
    bad = frozenset({"t_0007", "t_0600", "t_1199"})
    lake = Lakehouse(names, bad)
    with over_http(lake.answers) as url:
        items = list(spark(url, names="catalog").tables())
        calls = sum(lake.answers.calls.values())
    gaps = [item for item in items if isinstance(item, Gap)]
    assert {gap.ref.name for gap in gaps if gap.ref} == bad
    assert all("uniontype" in gap.reason for gap in gaps)
    assert [i.ref.name for i in items if not isinstance(i, Gap)] == [n for n in names if n not in bad]
    assert calls < 200, "halving, not one by one"


class Large(Lakehouse):
    """500 tables of 30 columns, one of them with a comment before its statistics: one more bulk call."""

    def __init__(self) -> None:
        super().__init__([f"t{n:03d}" for n in range(500)])
        self.answers.tables = lambda like: [("", "d", name, "TABLE", self.comment(name)) for name in self.names]

    def comment(self, name: str) -> str:
        return "nice" if name == "t007" else ""

    def answer(self, sql: str) -> list[tuple]:
        said = "Comment: nice\nStatistics: 10 bytes, 2 rows\nLocation"
        return [
            (*row[:3], row[3].replace("Location", said)) if len(row) == 4 and row[1] == "t007" else row
            for row in super().answer(sql)
        ]

    def columns(self, like: str) -> list[tuple]:
        return [column(table, f"c{n}", n) for table in self.names for n in range(30)]


def test_500_tables_of_30_columns_take_at_most_12_calls():
    large = Large()
    large.answers.columns = large.columns
    with over_http(large.answers) as url:
        read = {i.ref.name: i for i in snapshots(spark(url)) if not isinstance(i, Gap)}
        calls = dict(large.answers.calls)
    assert sum(len(t.columns or ()) for t in read.values()) == 15_000
    assert (read["t007"].row_count, read["t007"].description) == (2, "nice")
    # Two sessions, each opened by the driver's own USE and asked for the databases.
    fixed = {"OpenSession": 2, "CloseSession": 2, "ExecuteStatement": 4, "FetchResults": 4, "CloseOperation": 4}
    for_the_schema = {name: calls[name] - fixed.get(name, 0) for name in calls}
    assert sum(for_the_schema.values()) <= 12, for_the_schema
    assert for_the_schema["GetColumns"] == for_the_schema["GetTables"] == 1


def test_a_schema_that_is_closed_to_us_is_not_asked_for_each_table():
    names = [f"t{n:04d}" for n in range(3000)]
    lake = Lakehouse(names, frozenset(names))
    with over_http(lake.answers) as url:
        items = list(spark(url).tables())
        calls = sum(lake.answers.calls.values())
    assert len(items) == 3000
    assert all(isinstance(item, Gap) for item in items)
    assert calls < 120


def test_a_database_whose_tables_cannot_be_listed_is_one_gap():
    def answer(sql: str) -> list[tuple]:
        if sql == "SHOW DATABASES":
            return [("closed",), ("d",)]
        if "closed" in sql:
            raise RefusedError("Error running query: no access to database closed")
        return Lakehouse(["t"]).answer(sql)

    with over_http(Answers(answer, columns=Lakehouse(["t"]).columns)) as url:
        items = list(spark(url).tables())
    [gap, table] = items
    assert isinstance(gap, Gap)
    assert gap.reason == "its tables cannot be listed: no access to database closed"
    assert not isinstance(table, Gap)


def test_pages_that_the_server_cuts_short_are_read_to_the_end():
    lake = Lakehouse([f"t{n:03d}" for n in range(100)])
    lake.answers.page = 7
    with over_http(lake.answers) as url:
        read = [item for item in snapshots(spark(url)) if not isinstance(item, Gap)]
    assert len(read) == 100
    assert all(item.columns for item in read)


def test_a_server_that_dies_in_the_middle_of_reading_is_unavailable():
    lake = Lakehouse([f"t{n:03d}" for n in range(50)])
    lake.answers.page = 10

    def die(name: str) -> None:
        if name == "FetchResults" and lake.answers.calls[name] == 5:
            raise died()

    lake.answers.before = die
    with over_http(lake.answers) as url, pytest.raises(WarehouseUnavailable):
        list(spark(url).tables())


@pytest.mark.parametrize(
    "dies_at", ["OpenSession", "ExecuteStatement", "FetchResults", "CloseOperation", "CloseSession"]
)
def test_a_binary_server_that_dies_anywhere_is_unavailable_or_was_read(dies_at):
    lake = Lakehouse([f"t{n:03d}" for n in range(50)])

    def die(name: str) -> None:
        if name == dies_at and lake.answers.calls[name] >= (1 if name in ("OpenSession", "CloseSession") else 3):
            raise died()

    lake.answers.before = die
    with over_binary(lake.answers) as port:
        warehouse = Spark.from_settings(
            SparkSettings(host="127.0.0.1", port=port, auth="NOSASL", timeout_seconds=5), scope=Scope()
        )
        if dies_at in ("CloseOperation", "CloseSession"):  # after everything was read
            assert len(list(warehouse.tables())) == 50
        else:
            with pytest.raises(WarehouseUnavailable):
                list(warehouse.tables())


def test_a_session_that_a_restarted_server_does_not_know_is_unavailable():
    def answer(sql: str) -> list[tuple]:
        raise RefusedError("java.lang.IllegalArgumentException: Invalid SessionHandle: SessionHandle [0f]")

    with over_http(Answers(answer)) as url, pytest.raises(WarehouseUnavailable, match="lost the session"):
        list(spark(url).tables())


def test_a_schema_too_large_for_memory_is_read_in_chunks(monkeypatch):
    from mc_push_dagster.warehouses import _spark_catalog

    monkeypatch.setattr(_spark_catalog, "BULK_TABLES", 100)
    monkeypatch.setattr(_spark_catalog, "BULK_COLUMNS", 100)
    lake = Lakehouse([f"t{n:04d}" for n in range(1100)])
    with over_http(lake.answers) as url:
        read = [item for item in snapshots(spark(url)) if not isinstance(item, Gap)]
    assert [item.ref.name for item in read] == lake.names
    assert all(item.columns for item in read)


def test_connections_are_closed_when_reading_stops_early():
    lake = Lakehouse(["a", "b", "c"])
    with over_http(lake.answers) as url:
        stream = spark(url).tables()
        next(stream)
        stream.close()
    assert lake.answers.calls["CloseSession"] == 1


def test_two_catalogs_that_would_share_a_name_are_refused():
    def answer(sql: str) -> list[tuple]:
        return {"SHOW DATABASES": [("lake",)], "SHOW NAMESPACES IN `lake`": [("default",)]}.get(sql, [])

    with over_http(Answers(answer)) as url:
        both = spark(url, catalogs=("spark_catalog", "lake"))
        with pytest.raises(FixConfiguration, match=r"would both be pushed as lake\.default; set `names: catalog`"):
            list(both.tables())
        assert list(spark(url, catalogs=("spark_catalog", "lake"), names="catalog").tables()) == []


@pytest.mark.parametrize(
    ("names", "expected"),
    [("iomete", ("d", "default")), ("hive", ("d", "d")), ("catalog", ("spark_catalog", "d"))],
)
def test_names_take_the_configured_shape_and_scope_follows_it(names, expected):
    lake = Lakehouse(["t"])
    scope = Scope(include=(TablePattern(database=expected[0], schema=expected[1]),))
    with over_http(lake.answers) as url:
        [table] = spark(url, scope, names=names).tables()
        assert not isinstance(table, Gap)
        assert (table.ref.database, table.ref.schema) == expected
        assert list(spark(url, Scope(exclude=scope.include), names=names).tables()) == []


# Words


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "Error running query: [TABLE_OR_VIEW_NOT_FOUND] org.apache.spark.sql.AnalysisException: "
            "[TABLE_OR_VIEW_NOT_FOUND] The table or view `a` cannot be found.; line 1 pos 14;\n'Project [*]\n+- x",
            "[TABLE_OR_VIEW_NOT_FOUND] The table or view `a` cannot be found.; line 1 pos 14",
        ),
        (
            "Error running query: [_LEGACY_ERROR_TEMP_1200] a.b.AnalysisException: SHOW is not supported.;",
            "SHOW is not supported.",
        ),
        (
            "Error running query: [X_Y] org.apache.spark.Foo$BarException: \n[X_Y] Syntax error.\n\n== SQL ==\nSELEC",
            "[X_Y] Syntax error.",
        ),
        ("Error while compiling statement: FAILED: SemanticException no", "FAILED: SemanticException no"),
        ("", "the server gave no reason"),
    ],
)
def test_the_servers_message_is_cut_to_its_first_sentence(message, sentence):
    assert first_sentence(message) == sentence


def test_names_are_quoted_and_patterns_match_nothing_else():
    assert quote("a`b") == "`a``b`"
    assert unquoted("`odd-``name`") == "odd-`name"
    assert unquoted("plain") == "plain"
    assert pattern("a_b%") == r"a\_b\%"
    assert name_patterns(["a_b", "x.y"]) == r"a_b|x\.y"


def test_every_statement_is_marked_as_ours_and_errors_leave_the_session_usable():
    seen: list[str] = []

    def answer(sql: str) -> list[tuple]:
        seen.append(sql)
        if sql == "BAD":
            raise RefusedError("Error running query: [NOPE] no")
        return [(1, None, "ü"), (2, "x", None)]

    answers = Answers(answer)
    with over_http(answers) as url, closing(spark(url)._connect()) as connection:
        session = Session(connection)
        with pytest.raises(StatementError) as caught:
            session.run("BAD")
        assert caught.value.code == "NOPE"
        assert list(session.rows("GOOD")) == [(1, None, "ü"), (2, "x", None)]
    assert seen == ["BAD", "GOOD"]
    assert answers.unmarked == ["USE `default`"], "the driver's own first statement"
