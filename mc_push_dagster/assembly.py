"""Puts the rooms together for one warehouse: what Dagster's resources and the command line both open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mc_push_dagster.config import PushConfig
from mc_push_dagster.errors import BrokenContract, FixConfiguration
from mc_push_dagster.flow.outbox import Outbox
from mc_push_dagster.flow.push import Pusher
from mc_push_dagster.flow.rehearsed import RehearsedGateway, RehearsedOutbox
from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster.gateway.graphql import GraphQLReader
from mc_push_dagster.gateway.ingest import IngestGateway
from mc_push_dagster.ledger import Ledger
from mc_push_dagster.model import Feed, Target
from mc_push_dagster.warehouses.base import Connect, Warehouse


@dataclass(frozen=True, kw_only=True)
class Station:
    """Everything one warehouse's pushes need, opened."""

    config: PushConfig
    connection: Connection
    warehouse: Warehouse
    target: Target
    ledger: Ledger
    outbox: Outbox
    pusher: Pusher
    reader: GraphQLReader | None
    """None where no GraphQL key is configured: pushing works, verifying does not."""


def target_of(config: PushConfig, connection: Connection, warehouse: Warehouse) -> Target:
    """Name the Monte Carlo resource that is fed.

    Raises:
        FixConfiguration: if no resource UUID is configured.
    """
    # The connection has read the configuration's, and its form is one: in lower case.
    uuid = connection.resource_uuid or config.monte_carlo.resource_uuid
    if uuid is None:
        raise FixConfiguration(
            "no Monte Carlo resource: set MCD_RESOURCE_UUID to the warehouse's UUID (Settings -> Integrations -> the "
            "warehouse: it stands in the address), or monte_carlo.resource_uuid in the configuration"
        )
    return Target(
        resource_uuid=uuid,
        resource_type=config.monte_carlo.resource_type or warehouse.resource_type,
        log_type=config.monte_carlo.log_type or warehouse.log_type,
    )


class _Closed:
    """The gateway of a station that was opened to look, not to send."""

    def send(self, feed: Feed, body: bytes) -> str:
        raise BrokenContract(f"{len(body)} bytes of {feed.value} were to be sent where nothing may be")

    def close(self) -> None:
        pass


@contextmanager
def open_station(
    config: PushConfig,
    connection: Connection,
    *,
    connect: Connect | None = None,
    warehouse: Warehouse | None = None,
    sending: bool = True,
) -> Iterator[Station]:
    """Open ledger, outbox and gateway for `config`.

    `connect` replaces the configured way to the warehouse by the user's own, `warehouse` the whole warehouse. With
    `sending` False (verify, dry run) no ingestion key is needed, and nothing can be pushed.

    No connection to the warehouse or to Monte Carlo is made before it is needed.
    """
    warehouse = warehouse or config.open_warehouse(connect)
    target = target_of(config, connection, warehouse)
    with Ledger(config.ledger_url) as ledger:
        outbox = Outbox(config.store_url, ledger)
        timeout = config.delivery.timeout_seconds
        gateway = IngestGateway(connection, timeout_seconds=timeout) if sending else _Closed()
        try:
            yield Station(
                config=config,
                connection=connection,
                warehouse=warehouse,
                target=target,
                ledger=ledger,
                outbox=outbox,
                pusher=Pusher(
                    name=config.name,
                    warehouse=warehouse,
                    target=target,
                    gateway=gateway,
                    ledger=ledger,
                    outbox=outbox,
                    config=config,
                ),
                reader=GraphQLReader(connection) if connection.api_key is not None else None,
            )
        finally:
            gateway.close()


NOWHERE = "00000000-0000-0000-0000-000000000000"


@contextmanager
def open_collector(config: PushConfig) -> Iterator[Pusher]:
    """Open what only reads the warehouse and writes a manifest: no key, no resource, no ledger is needed."""
    warehouse = config.open_warehouse()
    target = Target(resource_uuid=NOWHERE, resource_type=warehouse.resource_type, log_type=warehouse.log_type)
    with Ledger(config.ledger_url) as ledger:
        yield Pusher(
            name=config.name,
            warehouse=warehouse,
            target=target,
            gateway=RehearsedGateway(),
            ledger=ledger,
            outbox=RehearsedOutbox(),
            config=config,
        )
