"""`mc-push demo`: the whole mission on a laptop, without an account and without a network."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from mc_push_dagster.cli.options import closed_hours, open_config, opened_station
from mc_push_dagster.cli.screen import NOUNS, err, line, on_terminal, out, print_json, quantity, sized
from mc_push_dagster.cli.verify import document, show, verification
from mc_push_dagster.config import PushConfig, home
from mc_push_dagster.flow.verify import Verification
from mc_push_dagster.gateway.connection import API_ENDPOINT, INGEST_ENDPOINT
from mc_push_dagster.warehouses import load

if TYPE_CHECKING:
    from mc_push_dagster.orchestration.materialize import Materialized
    from mc_push_dagster.sandbox import Sandbox

HOURS = 6
"""So many hours of the shop's history are pushed as query-log windows."""
VISIBILITY = timedelta(seconds=1)
"""How long the sandbox takes from its 202 to showing what it got; the real one takes minutes."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document for machines instead of tables.")
def demo(as_json: bool) -> None:
    """Build a shop in DuckDB, push it through Dagster to a local stand-in for Monte Carlo, and show what arrived."""
    began = time.monotonic()
    with told("Building the shop (real SQL, about a million rows)"):
        config = open_config(None)
    with sandbox() as box:
        with told("Materializing catalog, lineage and query logs in Dagster"):
            made = materialized(config)
        with told("Waiting until the sandbox shows what it was sent"), opened_station(config) as station:
            found = verification(station, wait=timedelta(seconds=30))
        if as_json:
            print_json({"materialized": made, "verification": document(found), "sandbox": box.resource_uuid})
        else:
            report(made, found, seconds=time.monotonic() - began)
    sys.exit(0 if found.complete else 1)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say on standard error what goes on."""
    with err.status(what + " ...") if on_terminal() else _silently():
        yield


@contextmanager
def _silently() -> Iterator[None]:
    yield


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """Serve the sandbox and make this process's environment point to it, and to nothing else, for the time being."""
    from mc_push_dagster.sandbox import serve

    before = dict(os.environ)
    with serve(home() / "sandbox", visibility_delay=VISIBILITY) as box:
        for name in [n for n in os.environ if n.startswith(("MCD_", "MC_INGEST_", "MC_RESOURCE_"))]:
            del os.environ[name]
        os.environ |= {
            INGEST_ENDPOINT: box.ingest_endpoint,
            API_ENDPOINT: box.api_endpoint,
            "MCD_INGEST_ID": box.ingest_key.id,
            "MCD_INGEST_TOKEN": box.ingest_key.secret,
            "MCD_ID": box.api_key.id,
            "MCD_TOKEN": box.api_key.secret,
            "MCD_RESOURCE_UUID": box.resource_uuid,
        }
        try:
            yield box
        finally:
            os.environ.clear()
            os.environ |= before


def materialized(config: PushConfig) -> Sequence[Materialized]:
    """Materialize the demo's assets, the query log for the last closed hours."""
    from mc_push_dagster.definitions import defs
    from mc_push_dagster.orchestration.materialize import instance, materialize

    windows = closed_hours(load(config.warehouse_type).query_log_latency, HOURS, now=datetime.now(UTC))
    with instance(home() / "dagster") as dagster:
        return materialize(defs(), config.name, on=dagster, hours=[window.start for window in windows])


def report(made: Sequence[Materialized], found: Verification, *, seconds: float) -> None:
    """Print what was pushed, with the invocation ids, what the stand-in shows, and what to do next."""
    line("Pushed by Dagster to the sandbox, a local stand-in that is NOT Monte Carlo", "bold")
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("asset", no_wrap=True)
    table.add_column("pushed")
    table.add_column("invocation ids", no_wrap=True)
    for one in made:
        hour = f" {one.partition[:13]}h" if one.partition else ""
        table.add_row(one.asset.rpartition("/")[2] + hour, counted(one.metadata), "\n".join(ids_of(one)) or "-")
    out.print(table)
    requests, size = (sum(one.metadata.get(label, 0) for one in made) for label in ("mc/requests", "mc/bytes"))
    out.print(f"{requests} requests, {sized(size)}")
    for one in made:
        if held := one.metadata.get("mc/held_back"):
            out.print(Text(f"{one.asset.rpartition('/')[2]}: {held}", style="yellow"))
    out.print()
    show(found, who="the sandbox")
    out.print(f"\nDone in {seconds:.0f} s. What next:")
    steps = Table.grid(padding=(0, 2))
    steps.add_column(no_wrap=True)
    steps.add_column()
    for command, what in next_steps():
        steps.add_row(Text(f"  {command}", style="bold"), what)
    out.print(steps)


def next_steps() -> tuple[tuple[str, str], ...]:
    """What to do next, as it is typed here: by make in a checkout, else by the commands themselves."""
    checkout = Path("Makefile").exists() and Path("workspace.yaml").exists()
    this = os.path.relpath(sys.argv[0]) if checkout else "mc-push"
    return (
        ("make dev" if checkout else "dagster dev -m mc_push_dagster.definitions", "see it in Dagster's UI"),
        ("make sandbox" if checkout else "mc-push sandbox", "see what arrived: tables, lineage, queries, requests"),
        (f"{this} push --dry-run", "see what a push would send now"),
        (f"{this} doctor", "check keys, rights and storage"),
    )


def ids_of(one: Materialized) -> list[str]:
    """The invocation ids of a materialization, at most three and how many more."""
    ids = [i for of_feed in dict(one.metadata.get("mc/invocation_ids") or {}).values() for i in of_feed]
    return [*ids[:3], *([f"... and {len(ids) - 3} more"] if len(ids) > 3 else [])]


def counted(metadata: Mapping[str, Any]) -> str:
    """What a materialization carried, in words."""
    said = [quantity(metadata[f"mc/{noun}"], noun) for noun in NOUNS if metadata.get(f"mc/{noun}")]
    return ", ".join(said) or "nothing new"
