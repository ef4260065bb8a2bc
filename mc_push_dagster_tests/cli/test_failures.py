"""Whatever goes wrong is one sentence that names the thing and the way out; nothing is lost or left half-written."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from mc_push_dagster.sandbox import Sandbox
from mc_push_dagster_tests.cli.conftest import SECRET, SOMEWHERE, Command, sent_to, sentence, written

QUICK = {"deadline_seconds": 2, "timeout_seconds": 1}


# Configuration


@pytest.mark.parametrize(
    ("text", "named", "way_out"),
    [
        ("name: s\nwarehouse: {type: duckbd, path: x}", "'duckbd'", "did you mean 'duckdb'"),
        ("name: [", "bad.yaml is not YAML: line 1", ""),
        ("name: s\nwarehouse: {type: duckdb, path: \"{{ env('NOT_SET') }}\"}", "NOT_SET", "not set"),
        ("name: s\nwarehouse: {type: duckdb}", "path", "required"),
        ("name: s\nwarehouse: {type: duckdb, path: x, colour: red}", "colour", "not permitted"),
        ("name: s\nwarehouse: {type: duckdb, path: nowhere.duckdb}", "nowhere.duckdb", "set `path`"),
        ("name: s\nwarehouse: {path: x}", "`type` is missing", "e.g. duckdb"),
        ("warehouse: {type: duckdb, path: x}", "name", "required"),
        ("name: s\nwarehouse: {type: duckdb, path: shop.duckdb}\nledger: 'oracle://x'", "'oracle'", "PostgreSQL"),
        ("name: s\nwarehouse: {type: duckdb, path: shop.duckdb}\nstore: 'nope://x'", "nope", ""),
        ("name: s\nwarehouse: {type: duckdb, path: shop.duckdb}\nscope: {include: 'a..b'}", "a..b", "pattern"),
        (
            f"name: s\nwarehouse: {{type: duckdb, path: shop.duckdb}}\nmonte_carlo: {{resource_uuid: {SECRET[:7]}}}",
            "UUID",
            "",
        ),
    ],
)
@pytest.mark.parametrize("command", ["push", "collect", "verify", "doctor"])
def test_a_wrong_configuration_is_named(
    mc_push: Command, config: str, tmp_path: Path, text: str, named: str, way_out: str, command: str
) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    outcome = mc_push(command, "--config", "bad.yaml")
    if command == "doctor" and outcome.out:
        assert outcome.code == 1
        said = " ".join(outcome.out.replace("│", " ").split())
    elif outcome.code == 0:
        assert command == "collect", "which needs no ledger, no outbox and no resource"
        return
    else:
        # No warehouse is there, and nothing was pushed: verify says the latter first.
        said = sentence(outcome)
        assert outcome.code == 2
        if "nothing was pushed" in said:
            return
    assert named in said
    assert way_out in said


def test_a_file_that_is_missing_or_no_text_is_named(mc_push: Command, tmp_path: Path) -> None:
    outcome = mc_push("push", "--config", "nope.yaml")
    assert outcome.code == 2
    assert "nope.yaml cannot be read: No such file" in sentence(outcome)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    assert "binary.yaml is not YAML" in sentence(mc_push("push", "--config", "binary.yaml"))


def test_broken_yaml_with_a_secret_in_it_does_not_show_it(mc_push: Command, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(f'name: s\nwarehouse: {{type: snowflake, password: "{SECRET}\n')
    assert "is not YAML: line" in sentence(mc_push("push", "--config", "bad.yaml"))
    (tmp_path / "bad.yaml").write_text(f"name: s\nwarehouse: {{type: snowflake, passwort: {SECRET}}}\n")
    assert "passwort" in sentence(mc_push("push", "--config", "bad.yaml"))


def test_a_driver_that_is_not_installed_names_the_extra(mc_push: Command, tmp_path: Path, monkeypatch) -> None:
    import sys

    for name in [n for n in sys.modules if n.partition(".")[0] == "snowflake"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "snowflake", None)
    given = {"type": "snowflake", "account": "a", "user": "u", "password": SECRET, "warehouse": "w"}
    (tmp_path / "push.yaml").write_text(json.dumps({"name": "s", "warehouse": given}))
    outcome = mc_push("push", "--config", "push.yaml", "--dry-run")
    assert outcome.code == 2
    assert "pip install 'mc-push-dagster[snowflake]'" in sentence(outcome)
    assert "mc-push-dagster[snowflake]" in mc_push("doctor", "--config", "push.yaml", "--json").out


def test_a_ledger_in_postgresql_without_its_driver_names_the_extra(
    mc_push: Command, config: str, tmp_path: Path, resource: str, monkeypatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "psycopg", None)
    name = written(tmp_path, ledger=f"postgresql://user:{SECRET}@127.0.0.1:9/ledger")
    assert "mc-push-dagster[postgres]" in sentence(mc_push("push", "--config", name))


def test_a_ledger_that_cannot_be_reached_is_named_without_its_password(
    mc_push: Command, config: str, tmp_path: Path, resource: str
) -> None:
    pytest.importorskip("psycopg")
    name = written(tmp_path, ledger=f"postgresql://user:{SECRET}@127.0.0.1:9/ledger")
    outcome = mc_push("push", "--config", name)
    assert outcome.code == 1
    assert "the ledger postgresql+psycopg://user:***@127.0.0.1:9/ledger cannot be used" in sentence(outcome)


# Keys


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"MCD_INGEST_ID": "abc"}, "MCD_INGEST_ID is set but MCD_INGEST_TOKEN is not"),
        ({"MCD_TOKEN": SECRET}, "MCD_TOKEN is set but MCD_ID is not"),
        ({"MCD_INGEST_ID": "abc", "MCD_INGEST_TOKEN": SECRET}, "MCD_RESOURCE_UUID"),
        ({"MCD_RESOURCE_UUID": SOMEWHERE}, "MCD_INGEST_ID and MCD_INGEST_TOKEN"),
        ({"MCD_RESOURCE_UUID": "warehouse-1"}, "'warehouse-1' is none"),
        ({"MC_PUSH_INGEST_ENDPOINT": "ftp://x"}, "'ftp://x' is not a URL"),
        ({"MC_PUSH_INGEST_ENDPOINT": "http://mc.example.com"}, "use https"),
        ({"MCD_INGEST_ID": "sandbox-x", "MCD_INGEST_TOKEN": SECRET}, "unset one of the two"),
        (
            {"MCD_INGEST_ID": "real", "MCD_INGEST_TOKEN": SECRET, "MC_PUSH_INGEST_ENDPOINT": "http://127.0.0.1:9"},
            "unset one of the two",
        ),
    ],
)
def test_what_is_wrong_with_the_keys_is_named(
    mc_push: Command, config: str, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    outcome = mc_push("push", "--config", config)
    assert outcome.code == 2
    assert said in sentence(outcome)


def test_a_wrong_secret_costs_one_request(
    mc_push: Command, box: Sandbox, resource: str, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCD_INGEST_TOKEN", SECRET)
    before = len(box.requests())
    outcome = mc_push("push", "--config", config)
    assert outcome.code == 1
    assert "id or secret is wrong" in sentence(outcome)
    assert len(box.requests()) == before + 1
    monkeypatch.setenv("MCD_TOKEN", SECRET)
    found = mc_push("doctor", "--config", config, "--json").json["findings"]
    assert any(f["check"] == "GraphQL key" and "id or secret is wrong" in f["detail"] for f in found)


def test_a_key_of_another_warehouse_is_told_from_a_wrong_one(
    mc_push: Command, box: Sandbox, resource: str, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = box.add_key(warehouses=[box.add_warehouse("another")])
    monkeypatch.setenv("MCD_INGEST_ID", key.id)
    monkeypatch.setenv("MCD_INGEST_TOKEN", key.secret)
    outcome = mc_push("push", "--config", config)
    assert outcome.code == 1
    assert "403" in sentence(outcome)
    assert "may not do this for this resource" in outcome.err
    assert key.secret not in outcome.err


def test_a_resource_that_does_not_exist_is_named(
    mc_push: Command, box: Sandbox, resource: str, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCD_RESOURCE_UUID", SOMEWHERE)
    outcome = mc_push("push", "--config", config)
    assert outcome.code == 1
    assert SOMEWHERE in sentence(outcome)
    found = mc_push("doctor", "--config", config, "--json").json["findings"]
    [wrong] = [f for f in found if f["check"] == "resource"]
    assert not wrong["ok"]
    assert "check MCD_RESOURCE_UUID" in wrong["detail"]


def test_a_real_key_never_goes_to_the_sandbox_that_serves_the_demo(
    mc_push: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Profile files and hostile variables included: nothing of them is read."""
    for name, value in {
        "MCD_INGEST_ID": "real",
        "MCD_INGEST_TOKEN": SECRET,
        "MCD_RESOURCE_UUID": SOMEWHERE,
        "MCD_DEFAULT_API_ID": "real",
        "MCD_DEFAULT_API_TOKEN": SECRET,
        "MCD_API_ENDPOINT": "https://api.getmontecarlo.com/graphql",
        "HOME": str(tmp_path / "home"),
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)
    profile = tmp_path / "home" / ".mcd" / "profiles.ini"
    profile.parent.mkdir(parents=True)
    profile.write_text(f"[default]\nmcd_id = real\nmcd_token = {SECRET}\n")
    outcome = mc_push("push", "--json")
    assert outcome.code == 0
    stored = (tmp_path / ".mc_push" / "sandbox" / "sandbox.sqlite").read_bytes()
    assert SECRET.encode() not in stored


# The gateway


def test_an_endpoint_that_nobody_answers_is_given_up_in_bounded_time(
    mc_push: Command, box: Sandbox, resource: str, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MC_PUSH_INGEST_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("MC_PUSH_API_ENDPOINT", "http://127.0.0.1:9/graphql")
    name = written(tmp_path, delivery=QUICK)
    begun = time.monotonic()
    outcome = mc_push("push", "--config", name)
    assert outcome.code == 1
    assert "127.0.0.1: the request could not be sent: Connection refused" in sentence(outcome)
    assert mc_push("doctor", "--config", name).code == 1
    assert time.monotonic() - begun < 10


def test_a_gateway_that_stays_down_ends_the_push_and_the_next_one_goes_on(
    mc_push: Command, box: Sandbox, resource: str, config: str, tmp_path: Path
) -> None:
    name = written(tmp_path, delivery=QUICK)
    box.add_fault(status=503, path="metadata", times=None)
    outcome = mc_push("push", "--config", name)
    assert outcome.code == 1
    assert "503" in sentence(outcome)
    document = mc_push("push", "--config", name, "--json")
    assert document.code == 1
    assert document.json["reports"] == []
    assert document.json["error"]["kind"] == "TryAgain"
    box.clear_faults()
    assert mc_push("push", "--config", name).code == 0
    [body] = sent_to(box, resource, "metadata")
    assert len(body["events"]) == 4


def test_errors_are_json_too(mc_push: Command, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCD_INGEST_ID", "abc")
    for command in ("push", "verify"):
        outcome = mc_push(command, "--config", config, "--json")
        assert outcome.code == 2
        assert outcome.json["error"]["kind"] == "FixConfiguration"
        assert outcome.json["error"]["message"] in outcome.err
    assert mc_push("push", "--hours", "x", "--json").json["error"]["kind"] == "BadParameter"


def test_what_nobody_foresaw_is_a_sentence_too(mc_push: Command, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import mc_push_dagster.cli.push as command

    def broken(*_: object, **__: object) -> None:
        raise LookupError("a bug\nof two lines")

    monkeypatch.setattr(command, "open_config", broken)
    outcome = mc_push("push", "--config", config)
    assert outcome.code == 1
    assert sentence(outcome).startswith("LookupError: a bug (not foreseen: MC_PUSH_TRACEBACK=1")


# Manifests


@pytest.mark.parametrize("harm", ["cut", "changed", "other", "folder", "missing"])
def test_a_manifest_that_is_not_whole_is_refused_before_anything_is_sent(
    mc_push: Command, box: Sandbox, resource: str, config: str, tmp_path: Path, harm: str
) -> None:
    manifest = Path(mc_push("collect", "--config", config, "--json").json["manifest"])
    whole = manifest.read_bytes()
    if harm == "cut":
        manifest.write_bytes(whole[:-30])
    elif harm == "changed":
        manifest.write_bytes(whole.replace(b"customers", b"costumers"))
    elif harm == "other":
        manifest.write_text("hello")
    elif harm == "folder":
        manifest = manifest.parent
    else:
        manifest.unlink()
    before = len(box.requests())
    outcome = mc_push("push", "--config", config, "--manifest", str(manifest))
    assert outcome.code == 2
    assert str(manifest) in outcome.err
    assert len(box.requests()) == before


def test_feeds_of_a_manifest_cannot_be_chosen(mc_push: Command, config: str) -> None:
    manifest = mc_push("collect", "--config", config, "--json").json["manifest"]
    outcome = mc_push("push", "--config", config, "--manifest", manifest, "--feed", "catalog")
    assert outcome.code == 2
    assert "a manifest holds what it holds" in outcome.err
