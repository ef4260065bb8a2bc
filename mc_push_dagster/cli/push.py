"""`mc-push push`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from mc_push_dagster.assembly import Station
from mc_push_dagster.cli.options import (
    closed_hours,
    config_option,
    dry_run_option,
    hours_option,
    json_option,
    open_config,
    opened_station,
)
from mc_push_dagster.cli.screen import Bars, bars, print_json, show_reports
from mc_push_dagster.flow.report import PushReport

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
    config = open_config(config_path)
    with opened_station(config) as station, bars(quiet=as_json) as progress:
        if manifest is not None:
            reports = [station.pusher.push_manifest(manifest, dry_run=dry_run, progress=progress)]
        else:
            reports = push_feeds(station, feeds or FEEDS, hours=hours, dry_run=dry_run, progress=progress)
    if as_json:
        print_json({"reports": reports})
    else:
        verb = "Would be pushed" if dry_run else "Pushed"
        show_reports(reports, title=f"{verb}: {config.name} -> {station.connection.ingest_endpoint}")
    sys.exit(0 if all(report.complete for report in reports) else 1)


def push_feeds(
    station: Station, feeds: tuple[str, ...], *, hours: int, dry_run: bool, progress: Bars
) -> list[PushReport]:
    """Push the named feeds, catalog first: lineage is only drawn between tables Monte Carlo knows."""
    reports = []
    if "catalog" in feeds:
        reports.append(station.pusher.push_catalog(dry_run=dry_run, progress=progress))
    if "lineage" in feeds:
        reports.append(station.pusher.push_lineage(dry_run=dry_run, progress=progress))
    if "query-logs" in feeds:
        windows = closed_hours(station.warehouse.query_log_latency, hours, now=datetime.now(UTC))
        reports += [station.pusher.push_query_logs(w, dry_run=dry_run, progress=progress) for w in windows]
    return reports
