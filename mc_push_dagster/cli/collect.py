"""`mc-push collect`."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import click

from mc_push_dagster.assembly import open_collector
from mc_push_dagster.cli.options import closed_hours, config_option, hours_option, json_option, open_config
from mc_push_dagster.cli.screen import bars, line, print_json, quantity, show_gaps
from mc_push_dagster.flow.manifest import Manifest
from mc_push_dagster.model import AssetType, ColumnEdge, Gap, LineageEdge, TableSnapshot
from mc_push_dagster.warehouses import load

MOST_GAPS = 1_000
"""So many gaps are listed for machines; `counts` tells how many there are."""


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

    Collecting and pushing can thus be two steps on two machines: only the second needs Monte Carlo's keys. Exit code 0
    if all could be read, 1 if the manifest has gaps.
    """
    config = open_config(config_path)
    windows = closed_hours(load(config.warehouse_type).query_log_latency, hours, now=datetime.now(UTC))
    with open_collector(config) as collector, bars(quiet=as_json) as progress:
        manifest = collector.collect(folder, windows=windows, progress=progress)
    counts, gaps = contents(manifest)
    if as_json:
        print_json({"manifest": manifest, "counts": counts, "gaps": gaps})
    else:
        said = ", ".join(quantity(number, noun) for noun, number in counts.items() if number) or "nothing is in scope"
        line(f"Collected: {said}")
        show_gaps(gaps, counts["gaps"])
        line(f"Manifest: {manifest}")
        line(f"Push it with: mc-push push --manifest {shlex.quote(str(manifest))}")
    sys.exit(1 if counts["gaps"] else 0)


def contents(path: Path) -> tuple[Counter[str], list[Gap]]:
    """Count what a manifest holds, and return the first gaps in it; one line is held at a time."""
    manifest, gaps = Manifest.open(path), list[Gap]()
    counts = Counter({"tables": 0, "views": 0, "edges": 0, "column_edges": 0, "queries": 0, "gaps": 0})
    for section in manifest.header.sections:
        if section.kind == "queries":
            counts["queries"] += section.lines
            continue
        for item in manifest.read(section):
            match item:
                case TableSnapshot(asset_type=kind):
                    counts["views" if kind is AssetType.VIEW else "tables"] += 1
                case LineageEdge():
                    counts["edges"] += 1
                case ColumnEdge():
                    counts["column_edges"] += 1
                case Gap():
                    counts["gaps"] += 1
                    gaps += [item] if len(gaps) < MOST_GAPS else []
    return counts, gaps
