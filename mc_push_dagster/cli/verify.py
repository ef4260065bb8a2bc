"""`mc-push verify`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from mc_push_dagster.assembly import Station
from mc_push_dagster.cli.options import config_option, json_option, open_config, opened_station
from mc_push_dagster.cli.screen import bars, line, out, print_json
from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.flow.recall import latest, recall
from mc_push_dagster.flow.verify import Sampled, Verdict, Verification, wait_until_visible
from mc_push_dagster.flow.verify import verify as ask

STYLES = {Verdict.SEEN: "green", Verdict.TOO_EARLY: "yellow", Verdict.MISSING: "bold red"}


@click.command()
@config_option
@click.option(
    "--push", "push_ids", multiple=True, help="Verify this push instead of the newest of each kind; may be repeated."
)
@click.option(
    "--wait",
    "minutes",
    type=click.FloatRange(min=0),
    default=0,
    help="Ask again for so many minutes until all is seen.",
)
@json_option
def verify(config_path: Path | None, push_ids: tuple[str, ...], minutes: float, as_json: bool) -> None:
    """Ask Monte Carlo whether what was pushed arrived: seen, missing, or too early to tell.

    Exit code 0 if nothing is missing, 1 otherwise.
    """
    config = open_config(config_path)
    with opened_station(config, sending=False) as station, bars(quiet=as_json) as progress:
        found = verification(station, push_ids, wait=timedelta(minutes=minutes))
        progress.advance("verified", 1, 1)
    if as_json:
        print_json(document(found))
    else:
        show(found, who="the sandbox" if station.connection.is_sandbox else "Monte Carlo")
    sys.exit(0 if found.sound else 1)


def verification(station: Station, push_ids: Iterable[str] = (), *, wait: timedelta = timedelta(0)) -> Verification:
    """Verify the named pushes, the newest of each kind where none is named.

    Raises:
        FixConfiguration: if there is no GraphQL key, no such push, or nothing was pushed yet.
    """
    station.connection.need_api_key()
    assert station.reader is not None, "a key makes a reader"
    uuid = station.target.resource_uuid
    pushes = []
    for push_id in push_ids:
        push = station.ledger.push(push_id)
        if push is None or push.target.resource_uuid != uuid:
            raise FixConfiguration(f"the ledger knows no push {push_id!r} to resource {uuid}")
        pushes.append(push)
    pushes = pushes or list(latest(station.ledger, uuid))
    if not pushes:
        raise FixConfiguration(f"nothing was pushed to resource {uuid} yet: run `mc-push push` first")
    pushed = recall(station.ledger, uuid, pushes)
    if not wait:
        return ask(pushed, reader=station.reader, now=datetime.now(UTC))
    return wait_until_visible(
        pushed,
        reader=station.reader,
        clock=lambda: datetime.now(UTC),
        sleep=time.sleep,
        deadline=datetime.now(UTC) + wait,
    )


def document(found: Verification) -> dict[str, object]:
    """The verification for machines: counts, and every table that is not seen by name."""
    return {
        "at": found.at,
        "complete": found.complete,
        "sound": found.sound,
        "received": found.received,
        "tables": {verdict.name.lower(): len(found.tables_that_are(verdict)) for verdict in Verdict},
        "tables_missing": [str(ref) for ref in found.tables_that_are(Verdict.MISSING)],
        "edges": found.edges,
        "column_edges": found.column_edges,
        "queries": found.queries,
    }


def show(found: Verification, *, who: str = "Monte Carlo") -> None:
    """Print one line a feed, and what is missing by name."""
    line(f"What {who} now shows", "bold")
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("what", "seen", "missing", "too early to tell"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    counts = {verdict: len(found.tables_that_are(verdict)) for verdict in Verdict}
    if found.tables:
        table.add_row("tables", *(_count(counts[v], v) for v in (Verdict.SEEN, Verdict.MISSING, Verdict.TOO_EARLY)))
    samples = (
        ("table lineage", found.edges),
        ("column lineage", found.column_edges),
        ("tables with queries", found.queries),
    )
    for name, part in samples:
        if part.checked:
            label = (
                f"{name} (all {part.total})"
                if part.checked == part.total
                else f"{name} ({part.checked} of {part.total} asked)"
            )
            table.add_row(label, *_parts(part))
    out.print(table)
    arrived = [
        feed.value.lower().replace("_", " ") for feed, verdict in found.received.items() if verdict is Verdict.SEEN
    ]
    if arrived:
        line(f"Received: {', '.join(arrived)}")
    missing = [*map(str, found.tables_that_are(Verdict.MISSING)), *found.edges.missing, *found.column_edges.missing]
    for name in missing[:10]:
        line(f"Missing: {name}", "red")
    if len(missing) > 10:
        line(f"... and {len(missing) - 10:,} more are missing", "red")


def _parts(part: Sampled) -> tuple[Text, Text, Text]:
    return (
        _count(part.seen, Verdict.SEEN),
        _count(len(part.missing), Verdict.MISSING),
        _count(len(part.too_early), Verdict.TOO_EARLY),
    )


def _count(number: int, verdict: Verdict) -> Text:
    return Text(f"{number:,}" if number else "-", style=STYLES[verdict] if number else "dim")
