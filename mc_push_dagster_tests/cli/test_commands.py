"""Each command does what it says, says it to people and to machines, and ends with the right exit code."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from mc_push_dagster.cli import COMMANDS, screen
from mc_push_dagster.cli.options import closed_hours, demo_config_path
from mc_push_dagster.model import Gap, TableSnapshot, Window
from mc_push_dagster.sandbox import Sandbox
from mc_push_dagster.warehouses.duckdb import DuckDB
from mc_push_dagster_tests.cli.conftest import HOSTILE, PROGRAM, Command, contents, sent_to, written

ID = re.compile(r"^(\S.*?)  ([0-9a-f]{8}-[0-9a-f-]{27})$", re.MULTILINE)


def tables_of(bodies: list[dict]) -> list[str]:
    return [event["relational_asset"]["metadata"]["name"] for body in bodies for event in body["events"]]


def test_help_lists_every_command_and_each_has_help_of_its_own(mc_push: Command) -> None:
    listed = mc_push("--help")
    assert listed.code == 0
    for name, what in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(what)}$", listed.out, re.MULTILINE)
        own = mc_push(name, "-h")
        assert own.code == 0, own.err
        assert own.out.startswith(f"Usage: mc-push {name}")


def test_help_is_instant_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from mc_push_dagster.cli import run; run(['--help']); "
        "print([m for m in ('dagster', 'pycarlo', 'duckdb', 'sqlalchemy', 'sqlglot', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_mistyped_command_is_answered_with_the_one_that_was_meant(mc_push: Command) -> None:
    outcome = mc_push("pusj")
    assert (outcome.code, outcome.out) == (2, "")
    assert "did you mean 'push'?" in outcome.err


def test_push_says_what_was_sent_row_by_row_and_shows_whole_invocation_ids(
    mc_push: Command, box: Sandbox, resource: str, config: str
) -> None:
    outcome = mc_push("push", "--config", config)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"Pushed: shop -> {box.url} (a sandbox, NOT Monte Carlo)\n")
    rows = [row.split("│")[:2] for row in outcome.out.splitlines() if "│" in row]
    labels = [label.strip() for label, _ in rows]
    assert labels[:2] == ["catalog", "lineage"]
    assert re.fullmatch(r"query log \d\d-\d\d \d\d:00", labels[2])
    assert rows[0][1].strip() == "3 tables, 1 view, 6 columns"
    assert rows[1][1].strip() == "1 edge, 1 column edge"
    shown = {i for _, i in ID.findall(outcome.out)}
    arrived = {r.invocation_id for r in box.requests() if r.body and resource.encode() in r.body}
    assert shown == arrived - {None}
    assert len(shown) == 3


def test_a_second_push_in_the_hour_sends_nothing_and_says_why(
    mc_push: Command, box: Sandbox, resource: str, config: str
) -> None:
    first = mc_push("push", "--config", config, "--json").json["reports"][0]
    before = len(box.requests())
    outcome = mc_push("push", "--config", config)
    assert outcome.code == 0
    assert len(box.requests()) == before
    flat = " ".join(outcome.out.split())
    assert "nothing new (4 tables and views are unchanged)" in flat
    assert "Volume and freshness of 3 tables were not sent again: they went out in the hour from" in flat
    assert first["push_id"] in flat


def test_push_for_machines_is_one_document_that_names_each_push(
    mc_push: Command, box: Sandbox, resource: str, config: str
) -> None:
    outcome = mc_push("push", "--config", config, "--hours", "2", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    reports = outcome.json["reports"]
    assert [r["what"] for r in reports] == ["catalog", "lineage", "query log", "query log"]
    assert reports[0]["counts"] == {"tables": 3, "views": 1, "columns": 6}
    assert reports[0]["target"]["resource_uuid"] == resource
    assert reports[2]["window"]["end"] == reports[3]["window"]["start"]
    ids = [i for r in reports for of_feed in r["invocation_ids"].values() for i in of_feed]
    assert len(ids) == len(sent_to(box, resource)) == 3


def test_one_feed_alone_is_pushed(mc_push: Command, box: Sandbox, resource: str, config: str) -> None:
    assert mc_push("push", "--config", config, "--feed", "catalog").code == 0
    assert {body["event_type"] for body in sent_to(box, resource)} == {"METADATA"}


def test_a_gap_is_named_and_the_exit_code_is_1(mc_push: Command, box: Sandbox, resource: str, config: str) -> None:
    box.add_fault(status=400, path="metadata", times=None, containing='"customers"')
    outcome = mc_push("push", "--config", config, "--feed", "catalog")
    assert outcome.code == 1
    assert "Not accepted: metadata of shop:main.customers: " in outcome.out
    assert sorted(tables_of(sent_to(box, resource))) == ["empty_one", "orders", "totals"]


def test_what_arrived_before_a_failure_is_shown_too(mc_push: Command, box: Sandbox, resource: str, config: str) -> None:
    box.add_fault(status=403, path="lineage", times=None)
    outcome = mc_push("push", "--config", config)
    assert outcome.code == 1
    assert [label for label, _ in ID.findall(outcome.out)] == ["catalog"]
    assert outcome.err.startswith("Error: ")
    assert "403" in outcome.err
    assert outcome.err.count("\n") == 1

    document = mc_push("push", "--config", config, "--json")
    assert document.code == 1
    assert [r["what"] for r in document.json["reports"]] == ["catalog"]
    assert document.json["error"]["kind"] == "FixAccess"


def test_changed_columns_are_named(mc_push: Command, resource: str, config: str) -> None:
    mc_push("push", "--config", config)
    with duckdb.connect("shop.duckdb") as db:
        db.execute("ALTER TABLE customers ADD COLUMN email VARCHAR")
        db.execute("ALTER TABLE customers DROP COLUMN name")
    outcome = mc_push("push", "--config", config)
    assert "Schema changed: shop.main.customers (+ email, - name)" in outcome.out


def test_verify_tells_what_arrived(mc_push: Command, resource: str, config: str) -> None:
    mc_push("push", "--config", config)
    outcome = mc_push("verify", "--config", config)
    assert (outcome.code, outcome.err) == (0, "")
    assert "What the sandbox now shows" in outcome.out
    document = mc_push("verify", "--config", config, "--json").json
    assert document["tables"] == {"seen": 4, "missing": 0, "too_early": 0}
    assert document["complete"] is True


def test_verify_names_what_is_missing_and_ends_with_1(
    mc_push: Command, box: Sandbox, resource: str, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mc_push_dagster.cli.verify as command

    mc_push("push", "--config", config)
    with box.world.store.write() as db:
        db.execute("DELETE FROM asset WHERE name = 'orders' AND warehouse = ?", (resource,))

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):  # type: ignore[override]
            return datetime.now(UTC) + timedelta(hours=3)

    monkeypatch.setattr(command, "datetime", Later)
    outcome = mc_push("verify", "--config", config)
    assert outcome.code == 1
    assert "Missing: shop.main.orders" in outcome.out


def test_verify_needs_no_ingestion_key(
    mc_push: Command, resource: str, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mc_push("push", "--config", config)
    monkeypatch.delenv("MCD_INGEST_ID")
    monkeypatch.delenv("MCD_INGEST_TOKEN")
    assert mc_push("verify", "--config", config).code == 0


def test_verify_of_one_push(mc_push: Command, resource: str, config: str) -> None:
    push_id = mc_push("push", "--config", config, "--feed", "catalog", "--json").json["reports"][0]["push_id"]
    assert mc_push("verify", "--config", config, "--push", push_id).code == 0
    unknown = mc_push("verify", "--config", config, "--push", "nope")
    assert unknown.code == 2
    assert "'nope'" in unknown.err


def test_doctor_tries_each_thing_by_itself(mc_push: Command, resource: str, config: str) -> None:
    outcome = mc_push("doctor", "--config", config, "--json")
    assert outcome.code == 1
    checks = {(f["about"], f["check"]): f for f in outcome.json["findings"]}
    assert checks["Monte Carlo", "GraphQL key"]["detail"].startswith("sees ")
    assert checks["Monte Carlo", "resource"]["detail"] == f"of one test ({resource})"
    assert checks["warehouse shop", "schema"]["ok"]
    assert {f["check"] for f in outcome.json["findings"] if not f["ok"]} == {"data change, query log"}
    assert "no query_log_table is set" in checks["warehouse shop", "data change, query log"]["detail"]
    assert "1 of 16 checks failed" in mc_push("doctor", "--config", config).out


def test_doctor_finds_nothing_wrong_with_the_demo(mc_push: Command) -> None:
    outcome = mc_push("doctor")
    assert outcome.code == 0
    assert "All is well." in outcome.out
    assert "no Monte Carlo key is set" in " ".join(outcome.out.replace("│", " ").split())


def test_a_resource_in_capitals_is_the_same_resource(
    mc_push: Command, resource: str, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MCD_RESOURCE_UUID")
    name = written(tmp_path, monte_carlo={"resource_uuid": resource.upper()})
    assert mc_push("push", "--config", name).code == 0
    assert mc_push("verify", "--config", name, "--json").json["tables"]["seen"] == 4
    [found] = [f for f in mc_push("doctor", "--config", name, "--json").json["findings"] if f["check"] == "resource"]
    assert found["ok"]


def test_doctor_goes_on_after_what_is_wrong(
    mc_push: Command, resource: str, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MCD_INGEST_TOKEN")
    Path("shop.duckdb").unlink()
    outcome = mc_push("doctor", "--config", config, "--json")
    assert outcome.code == 1
    wrong = [f["detail"] for f in outcome.json["findings"] if not f["ok"]]
    assert wrong[0] == "MCD_INGEST_ID is set but MCD_INGEST_TOKEN is not: a key needs both"
    assert "shop.duckdb" in wrong[1]
    assert len(wrong) == 2, "one cause is one finding"
    assert "2 of " in mc_push("doctor", "--config", config).out


def test_doctor_says_which_keys_are_missing(
    mc_push: Command, resource: str, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MCD_INGEST_ID", "MCD_INGEST_TOKEN", "MCD_ID", "MCD_TOKEN"):
        monkeypatch.delenv(name)
    outcome = mc_push("doctor", "--config", config, "--json")
    assert outcome.code == 1
    wrong = " ".join(f["detail"] for f in outcome.json["findings"] if not f["ok"])
    assert "MCD_INGEST_ID" in wrong
    assert "MCD_ID" in wrong


def test_a_dry_run_changes_nothing_and_sends_nothing(
    mc_push: Command, box: Sandbox, resource: str, config: str, tmp_path: Path
) -> None:
    before, requests = contents(tmp_path), len(box.requests())
    outcome = mc_push("push", "--config", config, "--dry-run")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("Would be pushed: shop -> ")
    assert "3 tables, 1 view, 6 columns" in outcome.out
    assert contents(tmp_path) == before
    assert len(box.requests()) == requests


def test_a_dry_run_after_a_push_leaves_ledger_and_outbox_as_they_were(
    mc_push: Command, box: Sandbox, resource: str, config: str, tmp_path: Path
) -> None:
    mc_push("push", "--config", config)
    before, requests = contents(tmp_path), len(box.requests())
    outcome = mc_push("push", "--config", config, "--dry-run", "--json")
    assert outcome.json["reports"][0]["counts"] == {"unchanged": 4}
    assert contents(tmp_path) == before
    assert len(box.requests()) == requests


def test_a_dry_run_needs_no_key(mc_push: Command, config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCD_RESOURCE_UUID", "11111111-2222-4333-8444-555555555555")
    outcome = mc_push("push", "--config", config, "--dry-run")
    assert outcome.code == 0
    assert "https://integrations.getmontecarlo.com\n" in outcome.out


def test_a_dry_run_counts_what_the_push_then_sends(mc_push: Command, box: Sandbox, resource: str, config: str) -> None:
    rehearsed = mc_push("push", "--config", config, "--dry-run", "--json").json["reports"]
    done = mc_push("push", "--config", config, "--json").json["reports"]
    for name in ("counts", "events", "requests"):
        assert [r[name] for r in rehearsed] == [r[name] for r in done]


def test_without_any_key_a_dry_run_leaves_no_sandbox_behind(mc_push: Command, config: str, tmp_path: Path) -> None:
    before = contents(tmp_path)
    assert mc_push("push", "--config", config, "--dry-run").code == 0
    assert contents(tmp_path) == before


def test_without_any_key_a_sandbox_serves(mc_push: Command, config: str) -> None:
    assert mc_push("push", "--config", config).code == 0
    assert mc_push("verify", "--config", config).code == 0


def test_collecting_on_one_machine_and_pushing_on_another(
    mc_push: Command, box: Sandbox, config: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "one").mkdir()
    outcome = mc_push("collect", "--config", config, "--to", "one", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    manifest = Path(outcome.json["manifest"])
    assert [p.name for p in (tmp_path / "one").iterdir()] == [manifest.name], "nothing half-written"
    assert not (tmp_path / ".mc_push").exists(), "no ledger, no sandbox, no key is needed"

    carried = tmp_path / "two" / manifest.name
    carried.parent.mkdir()
    manifest.rename(carried)
    (tmp_path / "shop.duckdb").unlink()
    resource = request.getfixturevalue("resource")
    pushed = mc_push("push", "--config", config, "--manifest", str(carried))
    assert pushed.code == 0, pushed.err
    assert "3 tables, 1 view, 6 columns, 1 edge, 1 column edge" in " ".join(
        part.split("│")[1].strip() for part in pushed.out.splitlines() if part.count("│") == 3
    )
    assert sorted(tables_of(sent_to(box, resource, "metadata"))) == ["customers", "empty_one", "orders", "totals"]
    again = mc_push("push", "--config", config, "--manifest", str(carried), "--json")
    assert again.code == 0
    assert again.json["reports"][0]["requests"] == 0


def test_collect_counts_what_it_read(mc_push: Command, config: str) -> None:
    outcome = mc_push("collect", "--config", config)
    assert outcome.code == 0
    assert outcome.out.startswith("Collected: 3 tables, 1 view, 1 edge, 1 column edge\nManifest: manifests/shop-")
    assert mc_push("collect", "--config", config, "--json").json["counts"]["tables"] == 3


def test_collect_names_what_it_could_not_read_and_ends_with_1(
    mc_push: Command, resource: str, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = DuckDB.tables

    def with_a_gap(self: DuckDB) -> Iterator[TableSnapshot | Gap]:
        yield Gap(subject="secret.schema", reason="permission denied")
        yield from everything(self)

    monkeypatch.setattr(DuckDB, "tables", with_a_gap)
    outcome = mc_push("collect", "--config", config, "--json")
    assert outcome.code == 1
    assert outcome.json["counts"]["gaps"] == len(outcome.json["gaps"]) > 0
    assert "Not read: secret.schema: permission denied" in mc_push("collect", "--config", config).out
    pushed = mc_push("push", "--config", config, "--manifest", outcome.json["manifest"])
    assert pushed.code == 1
    assert "Not read: secret.schema: permission denied" in pushed.out


def test_collect_says_how_to_push_in_one_line_that_can_be_copied(
    mc_push: Command, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen.out, "width", 40)
    outcome = mc_push("collect", "--config", config, "--to", "a folder's [bold]name[/bold]")
    last = outcome.out.splitlines()[-1]
    found = re.fullmatch(r"Push it with: mc-push push --manifest (.*)", last)
    assert found
    assert Path(shlex.split(found[1])[0]).is_file()


def test_hostile_names_are_shown_as_they_are(
    mc_push: Command, box: Sandbox, resource: str, hostile_config: str
) -> None:
    assert mc_push("push", "--config", hostile_config, "--feed", "catalog").code == 0
    assert set(tables_of(sent_to(box, resource))) == set(HOSTILE)
    for name in HOSTILE:
        box.add_fault(status=400, path="metadata", times=None, containing=json.dumps(name, ensure_ascii=False))
    with duckdb.connect("shop.duckdb") as db:
        for name in HOSTILE:
            quoted = name.replace('"', '""')
            db.execute(f'ALTER TABLE "{quoted}" ADD COLUMN more INTEGER')
        db.execute("CREATE TABLE plain (id INTEGER)")
    outcome = mc_push("push", "--config", hostile_config, "--feed", "catalog")
    assert outcome.code == 1
    for name in HOSTILE:
        assert f"Not accepted: metadata of shop:main.{name}: " in outcome.out


@pytest.mark.parametrize("command", ["push", "doctor", "verify"])
def test_a_narrow_screen_is_kept_to(
    mc_push: Command, resource: str, config: str, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    mc_push("push", "--config", config)
    monkeypatch.setattr(screen.out, "width", 60)
    outcome = mc_push(command, "--config", config)
    assert outcome.code in (0, 1)
    tables = [line for line in outcome.out.splitlines() if "│" in line or "┃" in line]
    assert tables
    assert max(map(len, tables)) <= 60


def test_the_demos_dry_run_builds_its_shop_where_it_leaves_nothing(mc_push: Command, tmp_path: Path) -> None:
    outcome = mc_push("push", "--dry-run")
    assert outcome.code == 0
    assert "36 tables, 20 views" in outcome.out
    assert contents(tmp_path) == {}


def test_the_demo_and_dagster_read_the_same_file(mc_push: Command, tmp_path: Path) -> None:
    path = demo_config_path()
    assert path.parts[-3:] == ("defs", "demo", "defs.yaml")
    outcome = mc_push("doctor", "--config", str(path), "--json")
    assert outcome.json["findings"][0]["check"] == "demo"


def test_bars_are_drawn_on_a_terminal_only(
    mc_push: Command, resource: str, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    outcome = mc_push("push", "--config", config)
    assert outcome.err == ""


@pytest.mark.parametrize(("option", "drawn"), [([], True), (["--json"], False)])
def test_on_a_terminal_bars_are_drawn_on_standard_error_unless_machines_read(
    resource: str, config: str, option: list[str], drawn: bool
) -> None:
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    command = [*PROGRAM, "push", "--config", config, *option]
    with subprocess.Popen(command, stderr=follower, stdout=subprocess.PIPE, env=os.environ | {"TERM": "xterm"}) as it:
        os.write(follower, b"|")  # so that there is something to read
        it.communicate(timeout=60)
    os.close(follower)
    seen = os.read(leader, 1 << 20)
    os.close(leader)
    assert it.returncode == 0
    assert (b"sent" in seen) == drawn, seen
    assert drawn or seen == b"|"


def test_output_cut_by_its_reader_is_no_error(resource: str, config: str) -> None:
    command = f"{shlex.join(PROGRAM)} push --config {config} | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_an_encoding_without_the_name_shows_it_escaped(resource: str, hostile_config: str, box: Sandbox) -> None:
    box.add_fault(status=400, path="metadata", times=None, containing="😀")
    done = subprocess.run(
        [*PROGRAM, "push", "--config", hostile_config],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 1
    assert "shop:main.snow \\u2603 \\U0001f600" in done.stdout
    assert "Traceback" not in done.stderr


def test_closed_hours_are_those_that_the_log_is_sure_to_hold() -> None:
    now = datetime(2026, 11, 20, 12, 10, tzinfo=UTC)
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    hour = timedelta(hours=1)
    assert closed_hours(timedelta(0), 2, now=now) == [Window.hour(noon - 2 * hour), Window.hour(noon - hour)]
    assert closed_hours(timedelta(minutes=45), 1, now=now) == [Window.hour(noon - 2 * hour)]
