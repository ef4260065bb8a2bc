"""`mc-push demo`: the whole mission in one command, twice, in the time and the memory it may take."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mc_push_dagster.sandbox import serve
from mc_push_dagster_tests.cli.conftest import PROGRAM

pytestmark = pytest.mark.slow

SECONDS, MEGABYTES = 60, 400
"""What the demo may take once everything is installed."""


def run_demo(*options: str) -> str:
    done = subprocess.run([*PROGRAM, "demo", *options], capture_output=True, text=True, timeout=150, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def peak_of_a_demo() -> float:
    """Megabytes at most, measured by a small process in between: a child's peak begins at what its parent held."""
    script = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=2, check=True)"
    script += "; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000)"
    command = [sys.executable, "-c", script, *PROGRAM, "demo"]
    return float(subprocess.run(command, capture_output=True, text=True, timeout=150, check=True).stdout)


def test_the_demo_pushes_verifies_and_says_what_came_of_it(tmp_path: Path) -> None:
    begun = time.monotonic()
    shown = run_demo()
    assert time.monotonic() - begun < SECONDS
    assert max(map(len, shown.splitlines())) <= 80

    words = " ".join(part.strip() for line in shown.splitlines() for part in line.split("│")[1:2])
    tables, views = (int(n) for n in re.findall(r"(\d+) (?:tables|views)", words))
    assert tables + views >= 40
    ids = set(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", shown))
    with serve(tmp_path / ".mc_push" / "sandbox") as box:
        pushed = [r for r in box.requests() if r.invocation_id is not None]
        assert ids == {r.invocation_id for r in pushed}
        assert {r.path.rsplit("/", 1)[-1] for r in pushed} == {"metadata", "lineage", "querylogs"}
        measured = [e for e in box.events("metadata") if "volume" in e["relational_asset"]]
        assert sum(e["relational_asset"]["volume"]["row_count"] for e in measured) > 900_000
        assert any(r.path == "/graphql" for r in box.requests()), "verified by asking"
    assert "NOT Monte Carlo" in shown
    assert re.search(r"^tables +│ +(\d+) │ +- │ +-$", shown, re.MULTILINE), "all are seen"
    assert "What next:" in shown

    again = json.loads(run_demo("--json"))
    catalog = again["materialized"][0]
    assert catalog["asset"] == "monte_carlo/demo/table_catalog"
    if str(catalog["metadata"].get("mc/held_back", "")):
        assert "sent" in catalog["metadata"]["mc/held_back"]
    assert again["verification"]["complete"] is True
    with serve(tmp_path / ".mc_push" / "sandbox") as box:
        by_hour: dict[tuple[str, str], int] = {}
        for request in box.requests("metadata"):
            for event in json.loads(request.body or b"{}")["events"]:
                asset = event["relational_asset"]
                if "volume" in asset or "freshness" in asset:
                    key = (asset["metadata"]["name"], asset["metadata"]["schema"] + f"{request.at:%Y-%m-%dT%H}")
                    by_hour[key] = by_hour.get(key, 0) + 1
        assert set(by_hour.values()) == {1}, "once an hour and table"


def test_the_demo_keeps_to_its_memory() -> None:
    assert peak_of_a_demo() < MEGABYTES
