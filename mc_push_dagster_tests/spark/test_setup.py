"""`mc-push setup`: changes are shown and agreed to first; secrets go once, where the user says, and nowhere else."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from graphql import build_schema, parse, validate

from mc_push_dagster.cli import cli
from mc_push_dagster.errors import FixAccess, FixConfiguration, MaybeDelivered, PushError
from mc_push_dagster.gateway import documents
from mc_push_dagster.sandbox import Sandbox, serve
from mc_push_dagster_tests.spark.replay import Answers, over_http

PASSWORD = "spark-password-9?"
DEPLOYMENT = "8ba0a4f5-0d3b-4c8f-9a51-0f3b6f0d9c11"
SANDBOX_SCHEMA = Path(__file__).parents[2] / "mc_push_dagster" / "sandbox" / "schema.graphql"


@pytest.fixture(scope="module")
def box(tmp_path_factory) -> Iterator[Sandbox]:
    with serve(tmp_path_factory.mktemp("box")) as running:
        yield running


@pytest.fixture
def home(box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    given = box.environment()
    for name in ("MCD_INGEST_ID", "MCD_INGEST_TOKEN", "MCD_RESOURCE_UUID", "MC_RESOURCE_UUID", "MC_PUSH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MC_PUSH_INGEST_ENDPOINT", "MC_PUSH_API_ENDPOINT", "MCD_ID", "MCD_TOKEN"):
        monkeypatch.setenv(name, given[name])
    monkeypatch.setenv("MC_PUSH_SPARK_PASSWORD", PASSWORD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def spark() -> Iterator[str]:
    with over_http(Answers(lambda sql: []), user="mc", password=PASSWORD) as url:
        yield url


def run(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(cli, ["setup", *arguments], input=answer, standalone_mode=False)


def succeeded(result: Result) -> Result:
    assert result.exception is None, result.exception
    return result


def refused(result: Result, kind: type[PushError], words: str) -> None:
    assert isinstance(result.exception, kind), result.exception
    assert words in str(result.exception)
    assert PASSWORD not in result.output + str(result.exception)


def mutations(box: Sandbox, since: int) -> list[str]:
    """The names of the mutations that reached the sandbox after its first `since` requests."""
    asked = [json.loads(r.body)["query"] for r in box.requests()[since:] if r.path == "/graphql"]
    return [query.split("(")[0].split()[-1] for query in asked if query.strip().startswith("mutation")]


def credentials(spark: str) -> str:
    done = succeeded(
        run("test-credentials", "--url", spark, "--username", "mc", "--deployment", DEPLOYMENT, "--yes", "--json")
    )
    return json.loads(done.stdout)["credentials_key"]


def resource(name: str) -> str:
    return json.loads(succeeded(run("integration", "--name", name, "--yes", "--json")).stdout)["resource_uuid"]


@pytest.mark.parametrize(
    "document", [documents.TEST_SPARK_CREDENTIALS, documents.CUSTOM_INTEGRATION, documents.CREATE_INTEGRATION_KEY]
)
def test_the_three_mutations_fit_the_schema(document):
    assert validate(build_schema(SANDBOX_SCHEMA.read_text(encoding="utf-8")), parse(document)) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("test-credentials", "--url", "http://h:1/x", "--username", "mc", "--deployment", DEPLOYMENT),
        ("integration", "--name", "dry"),
        ("key", "--resource", DEPLOYMENT, "--env-file", "dry.env"),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_dry_run_shows_the_change_and_makes_none(box, home, arguments, form):
    before = len(box.requests())
    done = succeeded(run(*arguments, "--dry-run", *form))
    assert mutations(box, before) == []
    assert PASSWORD not in done.output
    assert "a local sandbox, not Monte Carlo" in done.output
    assert not (home / "dry.env").exists()
    if form:
        assert json.loads(done.stdout)["dry_run"] is True


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_nothing_happens_without_a_yes(box, home, answer):
    import click

    before = len(box.requests())
    done = run("key", "--resource", DEPLOYMENT, "--env-file", "no.env", answer=answer)
    assert isinstance(done.exception, click.Abort)
    assert mutations(box, before) == []
    assert not (home / "no.env").exists()


def test_a_yes_on_the_terminal_is_enough(box, home):
    before = len(box.requests())
    done = succeeded(run("integration", "--name", "asked", answer="y\n"))
    assert "Do it?" in done.output
    assert mutations(box, before) == ["CustomIntegration"]


def test_machines_must_say_yes(box, home):
    refused(run("integration", "--name", "x", "--json"), FixConfiguration, "say --yes")


def test_credentials_are_tried_from_here_before_monte_carlo_is_asked(box, home, spark):
    before = len(box.requests())
    wrong = ("test-credentials", "--url", spark + "x", "--username", "mc", "--deployment", DEPLOYMENT, "--yes")
    refused(run(*wrong), FixConfiguration, "no Thrift server on this path")
    other = ("test-credentials", "--url", spark, "--username", "somebody", "--deployment", DEPLOYMENT, "--yes")
    refused(run(*other), FixAccess, "refuses the user or the password")
    assert mutations(box, before) == []
    assert credentials(spark).startswith("sandbox-credentials/")
    assert mutations(box, before) == ["TestSparkCredentials"]


def test_a_server_that_only_the_agent_reaches_can_be_skipped_here(box, home):
    before = len(box.requests())
    arguments = ("--url", "http://127.0.0.1:1/x", "--username", "mc", "--deployment", DEPLOYMENT, "--yes")
    succeeded(run("test-credentials", *arguments, "--not-from-here", "--skip-validation"))
    assert mutations(box, before) == ["TestSparkCredentials"]


def test_a_password_that_the_server_echoes_is_masked(box, home):
    arguments = ("--url", f"http://127.0.0.1:1/{PASSWORD}", "--username", "mc", "--deployment", DEPLOYMENT, "--yes")
    done = run("test-credentials", *arguments, "--not-from-here")
    assert isinstance(done.exception, PushError)
    assert PASSWORD not in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("test-credentials",), "which Spark server?"),
        (("test-credentials", "--url", "http://h/x", "--host", "h"), "either --url"),
        (("test-credentials", "--url", "http://h/x"), "--username is missing"),
        (("test-credentials", "--url", "http://h/x", "--username", "u"), "--deployment is missing"),
        (("integration",), "either --name"),
        (("integration", "--name", "a", "--resource", DEPLOYMENT), "either --name"),
        (("integration", "--name", "a", "--credentials-key", "k"), "--deployment is missing"),
        (("key", "--resource", DEPLOYMENT), "where the secret shall go"),
        (("key", "--resource", DEPLOYMENT, "--env-file", "x", "--print-secret"), "where the secret shall go"),
        (("key", "--print-secret"), "--resource is missing"),
    ],
)
def test_what_is_missing_is_named(home, arguments, words):
    refused(run(*arguments, "--yes"), FixConfiguration, words)


def test_without_an_api_key_the_way_out_is_named(home, monkeypatch):
    monkeypatch.delenv("MCD_ID")
    monkeypatch.delenv("MCD_TOKEN")
    refused(run("integration", "--name", "x", "--yes"), FixConfiguration, "set MCD_ID and MCD_TOKEN")


def test_an_integration_is_pushed_and_its_monitors_collect_over_spark(box, home, spark):
    key = credentials(spark)
    arguments = ("--name", "IOMETE", "--credentials-key", key, "--deployment", DEPLOYMENT, "--yes", "--json")
    made = json.loads(succeeded(run("integration", *arguments)).stdout)
    assert [c["capability"] for c in made["connections"]] == ["monitors"]
    sent = json.loads(box.requests()[-1].body)["variables"]
    assert {sent[name]["mode"] for name in ("metadata", "queryLogs", "lineage")} == {"PUSH"}
    assert sent["monitors"]["connectionType"] == "spark"
    refused(run("integration", *arguments), FixConfiguration, "exists already")


def test_an_integration_whose_answer_is_lost_is_looked_up_and_not_made_twice(box, home):
    before = len(box.requests())
    box.add_fault(kind="close", path="graphql", stored=True, containing="mutation CustomIntegration")
    refused(
        run("integration", "--name", "lost", "--yes"), MaybeDelivered, "the integration is there: MCD_RESOURCE_UUID="
    )
    assert mutations(box, before).count("CustomIntegration") == 1
    refused(run("integration", "--name", "lost", "--yes"), FixConfiguration, "exists already")


def test_a_key_whose_answer_is_lost_is_named_and_not_made_twice(box, home):
    uuid = resource("for a lost key")
    before = len(box.requests())
    box.add_fault(kind="close", path="graphql", stored=True, containing="mutation CreateIntegrationKey")
    lost = run("key", "--resource", uuid, "--description", "lost one", "--env-file", "lost.env", "--yes")
    refused(lost, MaybeDelivered, "delete it, make another")
    assert mutations(box, before).count("CreateIntegrationKey") == 1
    assert not (home / "lost.env").exists()


def test_a_key_is_limited_to_its_resource_and_written_for_its_owner_only(box, home):
    uuid = resource("for a key")
    done = succeeded(run("key", "--resource", uuid, "--env-file", "push.env", "--yes"))
    path = home / "push.env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    values = dict(line.split("=", 1) for line in path.read_text().splitlines())
    assert values["MCD_RESOURCE_UUID"] == uuid
    assert values["MC_PUSH_INGEST_ENDPOINT"] == box.ingest_endpoint
    assert values["MCD_INGEST_TOKEN"] not in done.output
    sent = json.loads(box.requests()[-1].body)["variables"]
    assert sent["resources"] == [uuid]


def test_an_existing_file_or_link_is_never_written_to(box, home):
    uuid = resource("for a file")
    before = len(box.requests())
    (home / "mine.env").write_text("KEEP=1\n")
    (home / "link.env").symlink_to(home / "elsewhere")
    for name in ("mine.env", "link.env", "no/such/folder.env"):
        refused(run("key", "--resource", uuid, "--env-file", name, "--yes"), FixConfiguration, name)
    assert (home / "mine.env").read_text() == "KEEP=1\n"
    assert not (home / "elsewhere").exists()
    assert mutations(box, before) == []


def test_a_secret_is_printed_once_where_that_is_asked_for(box, home):
    uuid = resource("for a print")
    done = succeeded(run("key", "--resource", uuid, "--print-secret", "--yes"))
    values = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert set(values) == {"MCD_INGEST_ID", "MCD_INGEST_TOKEN", "MCD_RESOURCE_UUID"}
    assert done.output.count(values["MCD_INGEST_TOKEN"]) == 1
    again = json.loads(succeeded(run("key", "--resource", uuid, "--print-secret", "--yes", "--json")).stdout)
    assert again["secret"] != values["MCD_INGEST_TOKEN"]


def test_a_refused_key_leaves_no_file(box, home):
    refused(run("key", "--resource", DEPLOYMENT, "--env-file", "gone.env", "--yes"), PushError, "")
    assert not (home / "gone.env").exists()
