"""GraphQL over raw HTTP: what is tried again, what is not, and what each answer means."""

from __future__ import annotations

import json
import logging
import socket
import time
import traceback
from datetime import UTC, datetime

import pytest

from mc_push_dagster.errors import (
    BrokenContract,
    FixAccess,
    FixConfiguration,
    MaybeDelivered,
    PushError,
    Rejected,
    TryAgain,
)
from mc_push_dagster.gateway import documents
from mc_push_dagster.gateway.client import GraphQLClient
from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster_tests.gateway.raw_server import RawServer, Script, Talk, elapsed, replies, sandbox_connection

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
DATA = json.dumps({"data": {"ok": 1}}).encode()
QUERY, MUTATION = "query { ok }", documents.DELETE_INTEGRATION_KEY


class Pauses(list[float]):
    """Records how long a client would have slept."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def client(connection: Connection, pauses: Pauses):
    with GraphQLClient(
        connection, timeout_seconds=0.5, attempts=4, now=lambda: NOW, sleep=pauses, jitter=lambda: 1.0
    ) as made:
        yield made


def errors(message: str, code: str | None = None) -> Script:
    error = {"message": message} | ({"extensions": {"code": code}} if code else {})
    return replies(200, json.dumps({"errors": [error], "data": None}).encode())


def reset(talk: Talk) -> None:
    talk.read()
    talk.reset()


def hang(talk: Talk) -> None:
    talk.read()
    talk.server.wait(30)


HTML = replies(200, b"<html>Maintenance</html>", {"Content-Type": "text/html"})
EMPTY = replies(200, b"")
NO_DATA = replies(200, b'{"data": null}')


def test_a_query_carries_document_variables_and_the_api_key(client: GraphQLClient, server: RawServer) -> None:
    server.then(replies(200, DATA))
    assert client.query(QUERY, {"at": NOW, "n": 1}) == {"ok": 1}
    (request,) = server.requests
    assert json.loads(request.body) == {"query": QUERY, "variables": {"at": "2024-03-01T12:00:00+00:00", "n": 1}}
    assert request.path == "/graphql"
    assert request.headers["x-mcd-id"] == "sandbox-api"
    assert request.headers["x-mcd-token"] == "sandbox-secret-api"
    assert "sandbox-secret-ingest" not in str(request.headers)


@pytest.mark.parametrize(
    "trouble",
    [
        replies(429, b""),
        replies(500, b""),
        replies(502, b""),
        replies(503, b""),
        replies(504, b""),
        replies(408, b""),
        errors("slow", "REQUEST_TIMEOUT"),
        HTML,
        EMPTY,
        NO_DATA,
        reset,
        hang,
    ],
)
def test_a_query_survives_passing_trouble(
    client: GraphQLClient, server: RawServer, pauses: Pauses, trouble: Script
) -> None:
    server.then(trouble, trouble, replies(200, DATA))
    assert client.query(QUERY) == {"ok": 1}
    assert pauses == [1.0, 2.0]


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (replies(503, b""), TryAgain),
        (replies(429, b""), TryAgain),
        (HTML, BrokenContract),
        (EMPTY, BrokenContract),
        (NO_DATA, BrokenContract),
        (reset, TryAgain),
    ],
)
def test_lasting_trouble_ends_after_the_last_attempt(
    client: GraphQLClient, server: RawServer, pauses: Pauses, trouble: Script, error: type[PushError]
) -> None:
    server.then(trouble)
    with pytest.raises(error):
        client.query(QUERY)
    assert len(server.requests) == 4
    assert pauses == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (replies(401, b'{"message": "bad key"}'), FixAccess),
        (replies(403, b""), FixAccess),
        (replies(404, b""), FixConfiguration),
        (replies(302, b"", {"Location": "http://127.0.0.1:1/"}), FixConfiguration),
        (replies(400, b'{"errors": [{"message": "Cannot query field"}]}'), Rejected),
        (errors("Table not found"), Rejected),
        (errors("no", "FORBIDDEN"), FixAccess),
        (errors("no", "UNAUTHENTICATED"), FixAccess),
        (replies(200, b'{"errors": ["as text"]}'), Rejected),
        (replies(200, b'{"errors": {"message": "as object"}}'), Rejected),
        (replies(200, b'{"errors": [{"message": "partly"}], "data": {"ok": 1}}'), Rejected),
    ],
)
def test_a_refused_query_is_not_tried_again(
    client: GraphQLClient, server: RawServer, pauses: Pauses, answer: Script, error: type[PushError]
) -> None:
    server.then(answer)
    with pytest.raises(error) as caught:
        client.query(QUERY)
    assert type(caught.value) is error
    assert (len(server.requests), pauses) == (1, [])


def test_the_servers_retry_after_is_kept_and_too_long_a_one_ends_it(
    client: GraphQLClient, server: RawServer, pauses: Pauses
) -> None:
    server.then(replies(429, b"", {"Retry-After": "9"}), replies(200, DATA))
    client.query(QUERY)
    assert pauses == [9.0]
    server.then(replies(429, b"", {"Retry-After": "600"}))
    with pytest.raises(TryAgain) as caught:
        client.query(QUERY)
    assert caught.value.retry_after == 600
    assert pauses == [9.0]


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (replies(500, b""), MaybeDelivered),
        (replies(502, b""), MaybeDelivered),
        (replies(503, b""), MaybeDelivered),
        (replies(504, b""), MaybeDelivered),
        (errors("slow", "REQUEST_TIMEOUT"), MaybeDelivered),
        (HTML, MaybeDelivered),
        (EMPTY, MaybeDelivered),
        (NO_DATA, MaybeDelivered),
        (reset, MaybeDelivered),
        (hang, MaybeDelivered),
        (replies(429, b""), TryAgain),
        (replies(401, b""), FixAccess),
        (errors("no such key"), Rejected),
    ],
)
def test_a_mutation_is_sent_once_whatever_happens(
    client: GraphQLClient, server: RawServer, pauses: Pauses, trouble: Script, error: type[PushError]
) -> None:
    server.then(trouble)
    with pytest.raises(error) as caught:
        client.mutate(MUTATION, {"id": "k"})
    assert type(caught.value) is error
    assert (len(server.requests), pauses) == (1, [])


def test_a_mutation_that_could_not_be_sent_was_not_done(pauses: Pauses) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = GraphQLClient(sandbox_connection(f"http://127.0.0.1:{port}"), sleep=pauses)
    with pytest.raises(TryAgain) as caught:
        client.mutate(MUTATION)
    assert type(caught.value) is TryAgain


@pytest.mark.parametrize("secret", ["hunter2-hunter2", 'with "quotes" \\ hunter2', "größe-hunter2"])
def test_no_secret_shows_in_errors_logs_or_forms(
    client: GraphQLClient, server: RawServer, caplog: pytest.LogCaptureFixture, secret: str
) -> None:
    caplog.set_level(logging.DEBUG)
    said = f"wrong: {secret} sandbox-secret-api"
    for answer in (errors(said), replies(400, json.dumps({"message": said}).encode()), replies(500, said.encode())):
        server.then(answer)
        with pytest.raises(PushError) as caught:
            client.mutate(MUTATION, {"password": secret}, secrets=(secret, ""))
        shown = "".join(traceback.format_exception(caught.value)) + repr(getattr(caught.value, "details", ""))
        assert "hunter2" not in shown + caplog.text + repr(client)
        assert "sandbox-secret-api" not in shown + caplog.text


def test_a_dripping_answer_ends_in_time(client: GraphQLClient, server: RawServer) -> None:
    def drip(talk: Talk) -> None:
        talk.read()
        talk.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
        while not server.stop.wait(0.05):
            talk.sock.sendall(b" ")

    server.then(drip, replies(200, DATA))
    started = time.monotonic()
    assert client.query(QUERY) == {"ok": 1}
    assert elapsed(started) < 2


def test_a_client_without_a_key_says_which_variables_to_set(server: RawServer) -> None:
    with pytest.raises(FixConfiguration, match="MCD_ID"):
        GraphQLClient(Connection(ingest_endpoint=server.url, api_endpoint=f"{server.url}/graphql"))
