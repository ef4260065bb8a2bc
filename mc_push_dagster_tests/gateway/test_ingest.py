"""The error matrix of the ingest gateway, each case over real HTTP on loopback."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
import traceback
from datetime import UTC, datetime

import pytest

from mc_push_dagster.errors import (
    FixAccess,
    FixConfiguration,
    MaybeDelivered,
    PushError,
    Rejected,
    SplitBatch,
    TryAgain,
)
from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster.gateway.ingest import IngestGateway
from mc_push_dagster.model import Feed
from mc_push_dagster_tests.gateway.raw_server import (
    ACCEPTED,
    INVOCATION,
    RawServer,
    Talk,
    elapsed,
    replies,
    sandbox_connection,
)

BODY = json.dumps({"event_type": "METADATA", "resource": {}, "events": ["Größe 大"]}, ensure_ascii=False).encode()
NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def gateway(connection: Connection):
    with IngestGateway(connection, timeout_seconds=2, now=lambda: NOW) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def _pycarlo_is_imported() -> None:
    """So that no test's time includes the import."""
    from mc_push_dagster.gateway.ingest import _classes

    _classes()


@pytest.mark.parametrize(
    ("feed", "path"),
    [
        (Feed.METADATA, "/ingest/v1/metadata"),
        (Feed.LINEAGE, "/ingest/v1/lineage"),
        (Feed.COLUMN_LINEAGE, "/ingest/v1/lineage"),
        (Feed.QUERY_LOG, "/ingest/v1/querylogs"),
    ],
)
def test_the_bytes_go_out_unchanged_to_the_feeds_own_path(gateway, server: RawServer, feed: Feed, path: str) -> None:
    server.then(replies(202))
    assert gateway.send(feed, BODY) == INVOCATION
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("POST", path, BODY)
    assert request.headers["x-mcd-id"] == "sandbox-ingest"
    assert request.headers["x-mcd-token"] == "sandbox-secret-ingest"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-mcd-session-id"].startswith("python-sdk-")
    assert "transfer-encoding" not in request.headers
    assert "content-encoding" not in request.headers


def test_a_megabyte_arrives_whole(gateway, server: RawServer) -> None:
    server.then(replies(202))
    body = json.dumps({"events": ["x" * 1_500_000]}).encode()
    gateway.send(Feed.QUERY_LOG, body)
    assert server.requests[0].body == body


def test_many_sends_share_one_connection(gateway, server: RawServer) -> None:
    server.then(replies(202))
    for _ in range(20):
        gateway.send(Feed.METADATA, BODY)
    assert server.connections == 1


def test_threads_share_the_gateway_and_no_request_is_mixed_up(gateway, server: RawServer) -> None:
    def echo(talk: Talk) -> None:
        request = talk.read()
        if request is not None:
            talk.answer(202, json.dumps({"invocation_id": request.body.decode()}).encode())

    server.then(echo)
    seen: dict[str, str] = {}

    def work(worker: int) -> None:
        for i in range(25):
            seen[f"{worker}-{i}"] = gateway.send(Feed.METADATA, f"{worker}-{i}".encode())

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 200
    assert all(sent == got for sent, got in seen.items())
    assert server.connections <= 8


PERMANENT = [
    (400, Rejected),
    (401, FixAccess),
    (403, FixAccess),
    (404, FixConfiguration),
    (405, FixConfiguration),
    (409, Rejected),
    (413, SplitBatch),
    (415, Rejected),
    (422, Rejected),
    (301, FixConfiguration),
    (302, FixConfiguration),
    (307, FixConfiguration),
    (308, FixConfiguration),
]
PASSING = [(408, TryAgain), (425, TryAgain), (429, TryAgain), (500, TryAgain), (502, TryAgain), (503, TryAgain)]


@pytest.mark.parametrize(("status", "error"), [*PERMANENT, *PASSING, (504, MaybeDelivered)])
def test_every_status_costs_one_attempt_and_has_its_error(
    gateway, server: RawServer, status: int, error: type[PushError]
) -> None:
    server.then(replies(status, b'{"message": "no"}', {"Location": "http://127.0.0.1:1/elsewhere"}))
    started = time.monotonic()
    with pytest.raises(error) as caught:
        gateway.send(Feed.METADATA, BODY)
    assert type(caught.value) is error
    assert elapsed(started) < 0.5
    assert len(server.requests) == 1
    assert str(status) in str(caught.value)


def test_a_refused_body_hands_on_the_gateways_details(gateway, server: RawServer) -> None:
    details = {"events/0/relational_asset/type": "must be TABLE or VIEW"}
    server.then(replies(400, json.dumps({"message": "schema", "details": details}).encode()))
    with pytest.raises(Rejected, match="schema") as caught:
        gateway.send(Feed.METADATA, BODY)
    assert caught.value.details == details


@pytest.mark.parametrize("body", [b"", b"<html>Bad request</html>", b"[1]", b'"no"'])
def test_a_refusal_in_any_shape_is_still_a_refusal(gateway, server: RawServer, body: bytes) -> None:
    server.then(replies(400, body))
    with pytest.raises(Rejected):
        gateway.send(Feed.METADATA, BODY)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("Fri, 01 Mar 2024 12:00:30 GMT", 30.0), ("Fri, 01 Mar 2024 11:00:00 GMT", 0.0), ("soon", None)],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_read_in_both_forms(
    gateway, server: RawServer, status: int, header: str, seconds: float | None
) -> None:
    server.then(replies(status, b"", {"Retry-After": header}))
    with pytest.raises(TryAgain) as caught:
        gateway.send(Feed.METADATA, BODY)
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"invocation_id": ""}',
        b'{"invocation_id": null}',
        b'{"invocation_id": 7}',
        b"<html>Welcome</html>",
        b'{"invocation_id": "abc',
        b"\xff\xfe",
    ],
)
@pytest.mark.parametrize("status", [200, 202])
def test_a_success_without_an_invocation_id_is_none(gateway, server: RawServer, status: int, body: bytes) -> None:
    server.then(replies(status, body))
    with pytest.raises(MaybeDelivered, match="invocation id"):
        gateway.send(Feed.METADATA, BODY)
    assert len(server.requests) == 1


def test_204_without_a_body_is_no_success(gateway, server: RawServer) -> None:
    def script(talk: Talk) -> None:
        talk.read()
        talk.sock.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    server.then(script)
    with pytest.raises(MaybeDelivered):
        gateway.send(Feed.METADATA, BODY)


def test_an_endless_page_is_not_read_to_its_end(gateway, server: RawServer) -> None:
    def script(talk: Talk) -> None:
        talk.read()
        talk.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
        while not server.stop.is_set():
            talk.sock.sendall(b"<p>more</p>" * 1000)

    server.then(script)
    started = time.monotonic()
    with pytest.raises(MaybeDelivered):
        gateway.send(Feed.METADATA, BODY)
    assert elapsed(started) < 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_token_goes_nowhere(gateway, server: RawServer, status: int) -> None:
    elsewhere = RawServer().then(replies(202))
    try:
        server.then(replies(status, b"", {"Location": f"{elsewhere.url}/ingest/v1/metadata"}))
        with pytest.raises(FixConfiguration, match="redirects"):
            gateway.send(Feed.METADATA, BODY)
        assert elsewhere.connections == 0
    finally:
        elsewhere.close()


def test_nobody_listening_means_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    gateway = IngestGateway(sandbox_connection(f"http://127.0.0.1:{port}"), timeout_seconds=2)
    with pytest.raises(TryAgain, match="Connection refused") as caught:
        gateway.send(Feed.METADATA, BODY)
    assert type(caught.value) is TryAgain


def test_a_reset_before_the_body_was_taken_means_not_sent(gateway, server: RawServer) -> None:
    def script(talk: Talk) -> None:
        talk.read_head()
        talk.reset()

    server.then(script)
    with pytest.raises(TryAgain) as caught:
        gateway.send(Feed.METADATA, b"x" * 20_000_000)  # more than any socket buffer holds
    assert type(caught.value) is TryAgain


def test_a_reset_after_the_body_means_maybe_delivered(gateway, server: RawServer) -> None:
    def script(talk: Talk) -> None:
        talk.read()
        talk.reset()

    server.then(script)
    with pytest.raises(MaybeDelivered):
        gateway.send(Feed.METADATA, BODY)
    assert len(server.requests) == 1


def test_a_connection_closed_after_the_body_means_maybe_delivered(gateway, server: RawServer) -> None:
    def script(talk: Talk) -> None:
        talk.read()
        talk.sock.close()

    server.then(script)
    with pytest.raises(MaybeDelivered):
        gateway.send(Feed.METADATA, BODY)


def test_half_an_answer_means_maybe_delivered(gateway, server: RawServer) -> None:
    def script(talk: Talk) -> None:
        talk.read()
        talk.sock.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 60\r\n\r\n" + ACCEPTED[:20])
        talk.sock.close()

    server.then(script)
    with pytest.raises(MaybeDelivered):
        gateway.send(Feed.METADATA, BODY)


def test_a_413_that_comes_before_the_body_was_read_is_heard(gateway, server: RawServer) -> None:
    def script(talk: Talk) -> None:
        request = talk.read_head()
        talk.answer(413, b"{}")
        left = int(request.headers["content-length"]) - len(talk.buffer)
        talk.buffer = b""
        while left > 0:
            left -= len(talk.sock.recv(65536))

    server.then(script)
    with pytest.raises(SplitBatch):
        gateway.send(Feed.METADATA, b"x" * 3_000_000)


@pytest.fixture
def hasty(connection: Connection):
    with IngestGateway(connection, timeout_seconds=0.4) as made:
        yield made


def test_a_hang_after_the_body_ends_in_time_as_maybe_delivered(hasty, server: RawServer) -> None:
    def script(talk: Talk) -> None:
        talk.read()
        server.wait(30)

    server.then(script)
    started = time.monotonic()
    with pytest.raises(MaybeDelivered, match="time ran out"):
        hasty.send(Feed.METADATA, BODY)
    assert elapsed(started) < 1.5


def test_a_server_that_never_reads_ends_in_time_as_not_sent(hasty, server: RawServer) -> None:
    def script(talk: Talk) -> None:
        server.wait(30)

    server.then(script)
    started = time.monotonic()
    with pytest.raises(TryAgain) as caught:
        hasty.send(Feed.METADATA, b"x" * 20_000_000)
    assert type(caught.value) is TryAgain
    assert elapsed(started) < 2


@pytest.mark.parametrize("what", ["head", "body"])
def test_an_answer_that_drips_byte_by_byte_ends_in_time(hasty, server: RawServer, what: str) -> None:
    def script(talk: Talk) -> None:
        talk.read()
        if what == "body":
            talk.sock.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 60000\r\n\r\n")
        else:
            talk.sock.sendall(b"HTTP/1.1 202 Accepted\r\nX-Slow: ")
        while not server.stop.wait(0.05):
            talk.sock.sendall(b"a")

    server.then(script)
    started = time.monotonic()
    with pytest.raises(MaybeDelivered, match="time ran out"):
        hasty.send(Feed.METADATA, BODY)
    assert elapsed(started) < 1.5


def test_a_kept_connection_that_the_server_closed_is_replaced(gateway, server: RawServer) -> None:
    def once(talk: Talk) -> None:
        talk.read()
        talk.answer(202)
        talk.sock.close()

    server.then(once, replies(202))
    gateway.send(Feed.METADATA, BODY)
    time.sleep(0.05)
    assert gateway.send(Feed.METADATA, BODY) == INVOCATION
    assert server.connections == 2


def test_a_path_in_the_endpoint_is_kept(server: RawServer) -> None:
    server.then(replies(202))
    with IngestGateway(sandbox_connection(f"{server.url}/behind/a/proxy/"), timeout_seconds=2) as gateway:
        gateway.send(Feed.METADATA, BODY)
    assert server.requests[0].path == "/behind/a/proxy/ingest/v1/metadata"


@pytest.mark.parametrize("status", [400, 401, 403, 413, 500, 302, 202])
def test_a_secret_that_the_server_echoes_shows_nowhere(
    connection: Connection, server: RawServer, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    secret = "sandbox-secret-ingest"
    echo = json.dumps({"message": f"bad token {secret}", "invocation_id": None}).encode()
    server.then(replies(status, echo, {"Location": f"http://127.0.0.1/?token={secret}"}))
    caplog.set_level(logging.DEBUG)
    with IngestGateway(connection, timeout_seconds=2) as gateway:
        with pytest.raises(PushError) as caught:
            gateway.send(Feed.METADATA, BODY)
        shown = "".join(traceback.format_exception(caught.value)) + caplog.text + repr(gateway) + repr(connection)
        shown += repr(gateway._service._client._session) + str(connection) + repr(connection.ingest_key)
    assert secret not in shown
    assert "sandbox-secret-api" not in shown


def test_a_secret_that_is_echoed_in_details_is_masked_too(gateway, server: RawServer) -> None:
    server.then(replies(400, json.dumps({"details": {"token": ["sandbox-secret-ingest is wrong"]}}).encode()))
    with pytest.raises(Rejected) as caught:
        gateway.send(Feed.METADATA, BODY)
    assert "sandbox-secret-ingest" not in repr(caught.value.details)


def test_a_gateway_without_a_key_says_which_variables_to_set(server: RawServer) -> None:
    with pytest.raises(FixConfiguration, match="MCD_INGEST_ID"):
        IngestGateway(Connection(ingest_endpoint=server.url, api_endpoint=f"{server.url}/graphql"))
