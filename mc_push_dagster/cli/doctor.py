"""`mc-push doctor`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from mc_push_dagster.assembly import Station
from mc_push_dagster.cli.options import config_option, json_option, open_config, opened_station
from mc_push_dagster.cli.screen import out, print_json
from mc_push_dagster.errors import PushError


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was tried."""

    about: str
    check: str
    ok: bool
    detail: str


@click.command()
@config_option
@json_option
def doctor(config_path: Path | None, as_json: bool) -> None:
    """Check configuration, keys, warehouse rights and storage, each by itself, and name what is missing.

    Nothing is pushed and nothing is changed.
    """
    config = open_config(config_path)
    findings = [
        Finding(about="configuration", check=config.name, ok=True, detail=f"a {config.warehouse_type} warehouse")
    ]
    with opened_station(config) as station:
        findings += [*storage(station), *monte_carlo(station), *warehouse(station)]
    if as_json:
        print_json({"findings": findings})
    else:
        show(findings)
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


def storage(station: Station) -> Iterator[Finding]:
    """Can the ledger and the outbox be written?"""
    for check, probe in (("ledger", station.ledger.check), ("outbox", station.outbox.check)):
        try:
            yield Finding(about="storage", check=check, ok=True, detail=probe())
        except PushError as error:
            yield Finding(about="storage", check=check, ok=False, detail=str(error))


def monte_carlo(station: Station) -> Iterator[Finding]:
    """Are the keys there, does the GraphQL key see the resource? An ingestion key cannot be tried without a push."""
    connection = station.connection
    simulated = " (a sandbox, no account)" if connection.is_sandbox else ""
    yield Finding(
        about="Monte Carlo",
        check="ingestion key",
        ok=connection.ingest_key is not None,
        detail=f"for {connection.ingest_endpoint}{simulated}"
        if connection.ingest_key
        else "set MCD_INGEST_ID and MCD_INGEST_TOKEN (create one with `mc-push setup key`)",
    )
    if station.reader is None:
        yield Finding(
            about="Monte Carlo", check="GraphQL key", ok=False, detail="set MCD_ID and MCD_TOKEN to verify pushes"
        )
        return
    try:
        warehouses = {w.uuid: w for w in station.reader.warehouses()}
    except PushError as error:
        yield Finding(about="Monte Carlo", check="GraphQL key", ok=False, detail=str(error))
        return
    yield Finding(about="Monte Carlo", check="GraphQL key", ok=True, detail=f"sees {len(warehouses)} warehouses")
    uuid = station.target.resource_uuid
    found = warehouses.get(uuid)
    yield Finding(
        about="Monte Carlo",
        check="resource",
        ok=found is not None,
        detail=f"{found.name} ({uuid})" if found else f"no warehouse {uuid} in this account: check MCD_RESOURCE_UUID",
    )


def warehouse(station: Station) -> Iterator[Finding]:
    """Try each capability of the warehouse with the rights at hand."""
    about = f"warehouse {station.config.name}"
    try:
        for access in station.warehouse.check_access():
            yield Finding(about=about, check=access.capability.value, ok=access.granted, detail=access.detail)
    except PushError as error:
        yield Finding(about=about, check="connection", ok=False, detail=str(error))
    for capability, support in station.warehouse.capabilities.items():
        if support.state != "yes":
            yield Finding(about=about, check=capability.value, ok=True, detail=f"{support.state}: {support.reason}")


def show(findings: list[Finding]) -> None:
    """Print one line a check; what is wrong in red with the way out."""
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("", "about", "check"):
        table.add_column(heading)
    table.add_column("what was seen", overflow="fold")
    for finding in findings:
        mark = Text("ok", style="green") if finding.ok else Text("no", style="bold red")
        table.add_row(mark, finding.about, finding.check, Text(finding.detail, style="" if finding.ok else "red"))
    out.print(table)
    wrong = sum(not finding.ok for finding in findings)
    out.print("All is well." if not wrong else f"{wrong} of {len(findings)} checks failed; each line says what to do.")
