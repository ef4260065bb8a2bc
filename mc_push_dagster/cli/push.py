"""`mc-push push`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from mc_push_dagster.assembly import Station
from mc_push_dagster.cli import exit_code
from mc_push_dagster.cli.options import (
    closed_hours,
    config_option,
    dry_run_option,
    hours_option,
    json_option,
    open_config,
    opened_station,
    place,
)
from mc_push_dagster.cli.screen import Bars, Pushed, bars, error_document, print_json, show_reports
from mc_push_dagster.errors import PushError

FEEDS = ("catalog", "lineage", "query-logs")


@click.command()
@config_option
@click.option("--feed", "feeds", multiple=True, type=click.Choice(FEEDS), help="Push only these; may be repeated.")
@click.option(
    "--manifest",
    type=click.Path(exists=True, path_type=Path),
    help="Push what `mc-push collect` wrote instead of reading the warehouse.",
)
@hours_option
@dry_run_option
@json_option
def push(
    config_path: Path | None, feeds: tuple[str, ...], manifest: Path | None, hours: int, dry_run: bool, as_json: bool
) -> None:
    """Push catalog, lineage and the last closed hours of the query log to Monte Carlo.

    Volume and freshness go out at most once an hour and table; each query goes out once.
    """
    if manifest is not None and feeds:
        raise click.UsageError("--feed chooses what to read from the warehouse; a manifest holds what it holds")
    config = open_config(config_path, dry_run=dry_run)
    done: list[Pushed] = []
    failure: PushError | None = None
    with opened_station(config, sending=not dry_run) as station, bars(quiet=as_json) as progress:
        try:
            if manifest is not None:
                report = station.pusher.push_manifest(manifest, dry_run=dry_run, progress=progress)
                done.append(Pushed(what="manifest", report=report))
            else:
                done.extend(push_feeds(station, feeds or FEEDS, hours=hours, dry_run=dry_run, progress=progress))
        except PushError as error:
            failure = error
    if as_json:
        found: dict[str, Any] = {"reports": [one.document() for one in done]}
        print_json(found if failure is None else found | {"error": error_document(failure)})
    elif done:
        verb = "Would be pushed" if dry_run else "Pushed"
        show_reports(done, title=f"{verb}: {config.name} -> {place(station.connection)}")
    if failure is not None:
        click.echo(f"Error: {failure}", err=True)
        sys.exit(exit_code(failure))
    sys.exit(0 if all(one.report.complete for one in done) else 1)


def push_feeds(
    station: Station, feeds: tuple[str, ...], *, hours: int, dry_run: bool, progress: Bars
) -> Iterator[Pushed]:
    """Push the named feeds, catalog first: lineage is only drawn between tables Monte Carlo knows. Yields each as soon
    as it is done, so that a later one's failure hides nothing.
    """
    if "catalog" in feeds:
        yield Pushed(what="catalog", report=station.pusher.push_catalog(dry_run=dry_run, progress=progress))
    if "lineage" in feeds:
        yield Pushed(what="lineage", report=station.pusher.push_lineage(dry_run=dry_run, progress=progress))
    if "query-logs" in feeds:
        for window in closed_hours(station.warehouse.query_log_latency, hours, now=datetime.now(UTC)):
            report = station.pusher.push_query_logs(window, dry_run=dry_run, progress=progress)
            yield Pushed(what="query log", report=report, window=window)
