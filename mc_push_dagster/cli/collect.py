"""`mc-push collect`."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path

import click

from mc_push_dagster.assembly import open_collector
from mc_push_dagster.cli.options import closed_hours, config_option, hours_option, json_option, open_config
from mc_push_dagster.cli.screen import bars, line, print_json
from mc_push_dagster.warehouses import load


@click.command()
@config_option
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("manifests"),
    show_default=True,
    help="Folder for the manifest; it is made if need be.",
)
@hours_option
@json_option
def collect(config_path: Path | None, folder: Path, hours: int, as_json: bool) -> None:
    """Read catalog, lineage and query log, and write a manifest that `mc-push push --manifest` sends.

    Collecting and pushing can thus be two steps on two machines: only the second needs Monte Carlo's keys.
    """
    config = open_config(config_path)
    windows = closed_hours(load(config.warehouse_type).query_log_latency, hours, now=datetime.now(UTC))
    with open_collector(config) as collector, bars(quiet=as_json) as progress:
        manifest = collector.collect(folder, windows=windows, progress=progress)
    if as_json:
        print_json({"manifest": manifest})
    else:
        line(f"Collected: {manifest}")
        line(f"Push it with: mc-push push --manifest {shlex.quote(str(manifest))}")
