"""`mc-push doctor`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from mc_push_dagster.cli.options import config_option, json_option, open_config, opened_connection
from mc_push_dagster.cli.screen import out, print_json, quantity
from mc_push_dagster.config import PushConfig
from mc_push_dagster.errors import PushError
from mc_push_dagster.flow.outbox import Outbox
from mc_push_dagster.gateway.client import GraphQLClient
from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster.gateway.graphql import GraphQLReader
from mc_push_dagster.ledger import Ledger
from mc_push_dagster.warehouses.base import Access


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

    Nothing is pushed. Exit code 0 if all is well, 1 otherwise, 2 if the configuration cannot be read.
    """
    config = open_config(config_path)
    told = f"{config_path or 'the demo'}: a {config.warehouse_type} warehouse"
    findings = [Finding(about="configuration", check=config.name, ok=True, detail=told)]
    findings += [*storage(config), *monte_carlo(config), *warehouse(config)]
    if as_json:
        print_json({"findings": findings})
    else:
        show(findings)
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


def storage(config: PushConfig) -> Iterator[Finding]:
    """Can the ledger and the outbox be written?"""
    check = "ledger"
    try:
        with Ledger(config.ledger_url) as ledger:
            yield Finding(about="storage", check=check, ok=True, detail=ledger.check())
            check = "outbox"
            yield Finding(about="storage", check=check, ok=True, detail=Outbox(config.store_url, ledger).check())
    except PushError as error:
        yield Finding(about="storage", check=check, ok=False, detail=str(error))


def monte_carlo(config: PushConfig) -> Iterator[Finding]:
    """Are the keys there, does the GraphQL key see the resource? An ingestion key cannot be tried without a push."""
    try:
        with opened_connection(config) as connection:
            ours = Connection.from_environment(config.monte_carlo, os.environ)
            yield _ingestion_key(connection, served_here=ours is None or ours != connection)
            yield from _account(connection)
    except PushError as error:
        yield Finding(about="Monte Carlo", check="keys and endpoints", ok=False, detail=str(error))


def _ingestion_key(connection: Connection, *, served_here: bool) -> Finding:
    if served_here:
        detail = "a sandbox of this machine serves: no Monte Carlo key is set, or this is the demo"
    elif connection.ingest_key is None:
        detail = "none: set MCD_INGEST_ID and MCD_INGEST_TOKEN (create one with `mc-push setup key`)"
    else:
        simulated = ", a sandbox" if connection.is_sandbox else ""
        detail = f"{connection.ingest_key.id} for {connection.ingest_endpoint}{simulated}; tried by the next push"
    ok = connection.ingest_key is not None
    return Finding(about="Monte Carlo", check="ingestion key", ok=ok, detail=detail)


def _account(connection: Connection) -> Iterator[Finding]:
    uuid = connection.resource_uuid
    nowhere = "none: set MCD_RESOURCE_UUID, or monte_carlo.resource_uuid in the configuration"
    if connection.api_key is None:
        missing = "none: set MCD_ID and MCD_TOKEN; pushing works without, verifying does not"
        yield Finding(about="Monte Carlo", check="GraphQL key", ok=False, detail=missing)
        unseen = f"{uuid}; only a GraphQL key can tell whether it exists"
        yield Finding(about="Monte Carlo", check="resource", ok=uuid is not None, detail=unseen if uuid else nowhere)
        return
    try:
        # Once: who looks on wants an answer, not patience.
        client = GraphQLClient(connection, timeout_seconds=10, attempts=1)
        with GraphQLReader(connection, client=client) as reader:
            warehouses = {w.uuid: w for w in reader.warehouses()}
    except PushError as error:
        yield Finding(about="Monte Carlo", check="GraphQL key", ok=False, detail=str(error))
        return
    sees = f"sees {quantity(len(warehouses), 'warehouses')}"
    yield Finding(about="Monte Carlo", check="GraphQL key", ok=True, detail=sees)
    found = warehouses.get(uuid or "")
    unknown = f"no warehouse {uuid} in this account: check MCD_RESOURCE_UUID" if uuid else nowhere
    detail = f"{found.name} ({uuid})" if found else unknown
    yield Finding(about="Monte Carlo", check="resource", ok=found is not None, detail=detail)


def warehouse(config: PushConfig) -> Iterator[Finding]:
    """Try each capability of the warehouse with the rights at hand."""
    about = f"warehouse {config.name}"
    try:
        opened = config.open_warehouse()
        tried = list(opened.check_access())
    except PushError as error:
        yield Finding(about=about, check="connection", ok=False, detail=str(error))
        return
    yield from _tried(about, tried)
    for capability, support in opened.capabilities.items():
        if support.state != "yes":
            yield Finding(about=about, check=capability.value, ok=True, detail=f"{support.state}: {support.reason}")


def _tried(about: str, tried: Sequence[Access]) -> Iterator[Finding]:
    """One finding a capability; what failed for the same reason, e.g. no connection, is one finding."""
    reasons: dict[str, list[str]] = {}
    for access in tried:
        if access.granted:
            yield Finding(about=about, check=access.capability.value, ok=True, detail=access.detail)
        else:
            reasons.setdefault(access.detail, []).append(access.capability.value)
    for reason, checks in reasons.items():
        check = "connection" if 1 < len(checks) == len(tried) else ", ".join(checks)
        yield Finding(about=about, check=check, ok=False, detail=reason)


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
