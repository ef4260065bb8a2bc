"""Whom a connection may talk to; and that neither environment nor profile can change it behind our back."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mc_push_dagster.config import MonteCarloConfig
from mc_push_dagster.errors import EndpointMismatch, FixConfiguration
from mc_push_dagster.gateway.connection import PRODUCTION_API, PRODUCTION_INGEST, Connection, Key
from mc_push_dagster_tests.gateway.raw_server import RawServer, replies

SANDBOX = {"ingest_endpoint": "http://127.0.0.1:8600", "api_endpoint": "http://127.0.0.1:8600/graphql"}
REAL = {"ingest_endpoint": PRODUCTION_INGEST, "api_endpoint": PRODUCTION_API}
SANDBOX_KEY, REAL_KEY = Key.of("sandbox-1", "s3cret-sandbox"), Key.of("a1b2c3", "s3cret-real")
UUID = "a1b2c3d4-e5f6-7890-abcd-ef1234567890"
NOTHING = MonteCarloConfig()


@pytest.mark.parametrize("which", ["ingest_key", "api_key"])
def test_a_sandbox_key_never_meets_a_real_endpoint_nor_the_reverse(which: str) -> None:
    assert Connection(**SANDBOX, **{which: SANDBOX_KEY}).is_sandbox
    assert not Connection(**REAL, **{which: REAL_KEY}).is_sandbox
    with pytest.raises(EndpointMismatch, match="sandbox-1"):
        Connection(**REAL, **{which: SANDBOX_KEY})
    with pytest.raises(EndpointMismatch, match="a1b2c3"):
        Connection(**SANDBOX, **{which: REAL_KEY})


@pytest.mark.parametrize(
    "mixed",
    [
        {"ingest_endpoint": SANDBOX["ingest_endpoint"], "api_endpoint": PRODUCTION_API},
        {"ingest_endpoint": PRODUCTION_INGEST, "api_endpoint": SANDBOX["api_endpoint"]},
    ],
)
def test_one_sandbox_endpoint_beside_a_real_one_is_refused(mixed: dict[str, str]) -> None:
    with pytest.raises(EndpointMismatch, match="MC_PUSH_API_ENDPOINT"):
        Connection(**mixed)


@pytest.mark.parametrize(
    "url",
    [
        "http://integrations.getmontecarlo.com",
        "http://127.0.0.1@evil.example",
        "https://127.0.0.1\\@evil.example",
        "http://127.0.0.1.evil.example",
        "https://user:pass@integrations.getmontecarlo.com",
        "ftp://127.0.0.1",
        "integrations.getmontecarlo.com",
        "https://",
        "https://host:99999",
        "https://host/?q=1",
        " https://host",
        "http://10.0.0.1:8080",
    ],
)
def test_an_endpoint_that_is_no_plain_safe_url_is_refused(url: str) -> None:
    with pytest.raises(FixConfiguration):
        Connection(ingest_endpoint=url, api_endpoint=url)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.1", "[::1]", "LOCALHOST"])
def test_every_way_to_say_this_machine_is_a_sandbox(host: str) -> None:
    url = f"http://{host}:1"
    assert Connection(ingest_endpoint=url, api_endpoint=url).is_sandbox
    with pytest.raises(EndpointMismatch):
        Connection(ingest_endpoint=url, api_endpoint=url, ingest_key=REAL_KEY)


def test_with_nothing_configured_the_caller_may_serve_the_sandbox() -> None:
    assert Connection.from_environment(NOTHING, {}) is None
    assert Connection.from_environment(NOTHING, {"MCD_INGEST_ID": " ", "MCD_INGEST_TOKEN": ""}) is None


def test_pycarlos_own_variables_count_for_nothing() -> None:
    own = {"MCD_DEFAULT_API_ID": "x", "MCD_DEFAULT_API_TOKEN": "y", "MCD_API_ENDPOINT": "https://elsewhere"}
    assert Connection.from_environment(NOTHING, own) is None


def test_keys_of_the_environment_go_to_production_by_default() -> None:
    made = Connection.from_environment(
        NOTHING,
        {
            "MCD_INGEST_ID": "i",
            "MCD_INGEST_TOKEN": "it\n",
            "MCD_ID": "a",
            "MCD_TOKEN": "at",
            "MCD_RESOURCE_UUID": UUID.upper(),
        },
    )
    assert made == Connection(**REAL, ingest_key=Key.of("i", "it"), api_key=Key.of("a", "at"), resource_uuid=UUID)


def test_the_documents_other_names_are_taken_as_well() -> None:
    made = Connection.from_environment(
        NOTHING, {"MC_INGEST_KEY_ID": "i", "MC_INGEST_KEY_TOKEN": "t", "MC_RESOURCE_UUID": UUID}
    )
    assert made == Connection(**REAL, ingest_key=Key.of("i", "t"), resource_uuid=UUID)


def test_configuration_wins_over_the_environment_for_endpoint_and_resource() -> None:
    config = MonteCarloConfig(ingest_endpoint="https://eu.example", resource_uuid=UUID)
    made = Connection.from_environment(
        config, {"MC_PUSH_INGEST_ENDPOINT": "https://us.example", "MCD_RESOURCE_UUID": UUID.replace("a", "b")}
    )
    assert made == Connection(ingest_endpoint="https://eu.example", api_endpoint=PRODUCTION_API, resource_uuid=UUID)


def test_one_sandbox_endpoint_brings_the_other_and_never_production() -> None:
    by_ingest = Connection.from_environment(NOTHING, {"MC_PUSH_INGEST_ENDPOINT": "http://127.0.0.1:8600/"})
    by_api = Connection.from_environment(NOTHING, {"MC_PUSH_API_ENDPOINT": "http://127.0.0.1:8600/graphql"})
    assert by_ingest is not None
    assert by_api is not None
    assert by_ingest.api_endpoint == by_api.api_endpoint == "http://127.0.0.1:8600/graphql"
    assert by_api.ingest_endpoint == "http://127.0.0.1:8600"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"MCD_INGEST_ID": "i"}, "MCD_INGEST_TOKEN is not"),
        ({"MCD_TOKEN": "t"}, "MCD_ID is not"),
        ({"MCD_INGEST_ID": "i", "MC_INGEST_KEY_TOKEN": "t"}, "MCD_INGEST_TOKEN is not"),
        ({"MCD_INGEST_ID": "i", "MCD_INGEST_TOKEN": "se cret\r\nX-Evil: 1"}, "odd characters"),
        ({"MCD_RESOURCE_UUID": "<warehouse-uuid>"}, "UUID"),
    ],
)
def test_half_a_key_or_a_placeholder_is_one_clear_sentence(environment: dict[str, str], words: str) -> None:
    with pytest.raises(FixConfiguration, match=words) as caught:
        Connection.from_environment(NOTHING, environment)
    assert "X-Evil" not in str(caught.value)


@pytest.mark.parametrize("need", ["need_ingest_key", "need_api_key", "need_resource"])
def test_what_is_missing_is_named_when_it_is_needed(need: str) -> None:
    with pytest.raises(FixConfiguration, match="MCD_"):
        getattr(Connection(**SANDBOX), need)()


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=12, max_size=40))
def test_no_text_form_of_a_connection_shows_a_secret(secret: str) -> None:
    made = Connection(**REAL, ingest_key=Key.of("i", secret), api_key=Key.of("a", secret))
    assert secret not in f"{made!r} {made} {made.ingest_key!r} {made.ingest_key}"
    assert pickle.loads(pickle.dumps(made)) == made  # it may stand in a resource of a run in another process


# Hostile environments, each in a process of its own because pycarlo reads variables when it is imported.

PROBE = """
    import json, sys
    seen = {"connects": [], "lookups": [], "files": []}
    def hook(event, args):
        if event == "socket.connect":
            seen["connects"].append(list(args[1]))
        elif event == "socket.getaddrinfo":
            seen["lookups"].append(args[0])
            if args[0] != "127.0.0.1":
                raise OSError("no network in this test")
        elif event == "open" and "profiles.ini" in str(args[0]):
            seen["files"].append(str(args[0]))
    sys.addaudithook(hook)
    import os
    from mc_push_dagster.errors import PushError
    from mc_push_dagster.model import Feed
    try:
        BODY
        seen["outcome"] = "sent"
    except PushError as error:
        seen["outcome"] = type(error).__name__
    print(json.dumps(seen))
"""
OURS = """
        from mc_push_dagster.config import MonteCarloConfig
        from mc_push_dagster.gateway.connection import Connection
        from mc_push_dagster.gateway.ingest import IngestGateway
        connection = Connection.from_environment(MonteCarloConfig(), os.environ)
        IngestGateway(connection, timeout_seconds=2).send(Feed.METADATA, b"{}")
"""
STOCK = """
        from pycarlo.core import Client, Session
        from pycarlo.features.ingestion import IngestionService
        session = Session(scope="Ingestion", endpoint=os.environ["MC_PUSH_INGEST_ENDPOINT"])
        IngestionService(Client(session)).send_metadata_raw({})
"""


@pytest.fixture
def other():
    made = RawServer().then(replies(202))
    yield made
    made.close()


def run(home: Path, environment: dict[str, str], body: str) -> dict:
    program = textwrap.dedent(PROBE).replace("    BODY", textwrap.dedent(body).replace("\n", "\n    ").strip("\n"))
    path = os.pathsep.join(p for p in sys.path if p)
    result = subprocess.run(
        [sys.executable, "-c", program],
        env={"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert body == STOCK or result.stderr == ""
    return json.loads(result.stdout)


def hostile(home: Path, endpoint: str) -> dict[str, str]:
    """Everything that can divert pycarlo, pointing at `endpoint`, with keys that look real."""
    (home / ".mcd").mkdir()
    (home / ".mcd" / "profiles.ini").write_text(
        f"[default]\nmcd_id = real-profile\nmcd_token = real-profile-secret\nmcd_api_endpoint = {endpoint}/graphql\n"
    )
    return {
        "MCD_DEFAULT_API_ID": "real-id",
        "MCD_DEFAULT_API_TOKEN": "real-secret",
        "MCD_API_ENDPOINT": f"{endpoint}/graphql",
        "MCD_DEFAULT_PROFILE": "default",
        "MCD_DEFAULT_OAUTH_CLIENT_ID": "real-oauth",
        "MCD_DEFAULT_OAUTH_CLIENT_SECRET": "real-oauth-secret",
        "MCD_DEFAULT_INSTANCE_ID": "us1",
        "MCD_TOKEN_ENDPOINT": f"{endpoint}/oauth2/token",
        "MCD_OAUTH_API_ENDPOINT": f"{endpoint}/graphql",
        "MCD_USER_ID_HEADER": "real-user",
        "HTTP_PROXY": endpoint,
        "http_proxy": endpoint,
        "HTTPS_PROXY": endpoint,
        "ALL_PROXY": endpoint,
    }


def test_the_trap_is_real_pycarlo_alone_sends_the_real_key_elsewhere(
    tmp_path: Path, server: RawServer, other: RawServer
) -> None:
    environment = hostile(tmp_path, other.url)
    for name in [n for n in environment if "OAUTH" in n or "roxy" in n.lower()]:
        del environment[name]
    server.then(replies(202))
    run(tmp_path, {**environment, "MC_PUSH_INGEST_ENDPOINT": server.url}, STOCK)
    assert server.requests == []
    assert other.requests[0].headers["x-mcd-token"] == "real-secret"


def test_with_a_sandbox_endpoint_nothing_real_goes_anywhere_and_nothing_goes_elsewhere(
    tmp_path: Path, server: RawServer, other: RawServer
) -> None:
    server.then(replies(202))
    chosen = {
        "MC_PUSH_INGEST_ENDPOINT": server.url,
        "MCD_INGEST_ID": "sandbox-ingest",
        "MCD_INGEST_TOKEN": "sandbox-secret",
    }
    seen = run(tmp_path, {**hostile(tmp_path, other.url), **chosen}, OURS)
    assert seen["outcome"] == "sent"
    assert seen["files"] == []
    assert [f"http://{host}:{port}" for host, port in seen["connects"]] == [server.url]
    assert other.connections == 0
    (request,) = server.requests
    assert request.headers["x-mcd-id"] == "sandbox-ingest"
    assert "real" not in json.dumps(request.headers)
    assert not {"user-id", "authorization"} & request.headers.keys()


def test_with_a_real_key_nothing_goes_to_the_sandbox_that_the_environment_suggests(
    tmp_path: Path, other: RawServer
) -> None:
    environment = hostile(tmp_path, other.url)
    for name in [n for n in environment if "roxy" in n.lower()]:
        del environment[name]
    seen = run(tmp_path, {**environment, "MCD_INGEST_ID": "real-ingest", "MCD_INGEST_TOKEN": "t"}, OURS)
    assert seen["outcome"] == "TryAgain"  # the test lets no name be looked up
    assert seen["lookups"] == ["integrations.getmontecarlo.com"]
    assert (seen["connects"], seen["files"], other.connections) == ([], [], 0)


def test_a_real_key_beside_a_sandbox_endpoint_stops_before_any_connection(
    tmp_path: Path, server: RawServer, other: RawServer
) -> None:
    chosen = {"MC_PUSH_INGEST_ENDPOINT": server.url, "MCD_INGEST_ID": "real-ingest", "MCD_INGEST_TOKEN": "t"}
    seen = run(tmp_path, {**hostile(tmp_path, other.url), **chosen}, OURS)
    assert seen["outcome"] == "EndpointMismatch"
    assert (seen["connects"], seen["lookups"]) == ([], [])


def test_sending_leaves_the_136_000_line_schema_unread(tmp_path: Path, server: RawServer) -> None:
    server.then(replies(202))
    body = (
        OURS
        + """
        from mc_push_dagster.gateway.pycarlo_import import _Deferred
        assert type(sys.modules["pycarlo.lib.schema"]) is _Deferred, "loaded"
        from pycarlo.core import Query
        Query().get_user.email()
        assert type(sys.modules["pycarlo.lib.schema"]) is type(sys), "not loaded on use"
"""
    )
    chosen = {
        "MC_PUSH_INGEST_ENDPOINT": server.url,
        "MCD_INGEST_ID": "sandbox-ingest",
        "MCD_INGEST_TOKEN": "sandbox-secret",
    }
    # `run` also asserts an empty standard error: the schema's warnings stay silent.
    assert run(tmp_path, chosen, body)["outcome"] == "sent"
