"""`mc-push setup`: create what a push needs in Monte Carlo, as the IOMETE guide does it, one command a mutation.

Each shows what it will do and asks before it changes anything. None is tried again by itself: where an answer is
lost, it says what can be found out. A secret is shown or written once, where the user says.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mc_push_dagster.cli._setup_plan import Plan, agreed, endpoints, env_file, place, write_variables
from mc_push_dagster.cli._setup_server import log_in, spark_server, vars_of
from mc_push_dagster.cli.options import CONFIG_VARIABLE, json_option
from mc_push_dagster.cli.screen import print_json
from mc_push_dagster.config import MonteCarloConfig, PushConfig, read
from mc_push_dagster.errors import FixAccess, FixConfiguration, MaybeDelivered
from mc_push_dagster.gateway.connection import Connection

if TYPE_CHECKING:
    from mc_push_dagster.gateway.client import GraphQLClient

DEPLOYMENT_VARIABLE = "MC_PUSH_DEPLOYMENT"
Command = TypeVar("Command", bound=Callable[..., Any])


def _shared(command: Command) -> Command:
    for option in (
        click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing."),
        click.option("--yes", is_flag=True, help="Do not ask."),
        json_option,
        click.option(
            "--config",
            "config_path",
            type=click.Path(dir_okay=False, path_type=Path),
            envvar=CONFIG_VARIABLE,
            help="A configuration file whose warehouse and endpoints are used.",
        ),
    ):
        command = option(command)
    return command


def _deployment(command: Command) -> Command:
    return click.option(
        "--deployment",
        envvar=DEPLOYMENT_VARIABLE,
        show_envvar=True,
        metavar="UUID",
        help="The data collector or agent that reaches the lakehouse (the guide's dcId and deploymentId).",
    )(command)


@click.group()
def setup() -> None:
    """Create what a push needs in Monte Carlo: credentials, integration, ingestion key. Needs MCD_ID and MCD_TOKEN."""


@setup.command("test-credentials")
@click.option("--url", help="HTTP transport: the Thrift server's address.  [default: the configuration's]")
@click.option("--host", help="Binary transport: the Thrift server's host.  [default: the configuration's]")
@click.option("--port", type=click.IntRange(1, 65535), default=10000, show_default=True, help="Binary transport.")
@click.option("--database", default="default", show_default=True, help="Binary transport: the database to start in.")
@click.option("--username", help="Whom Monte Carlo logs in as: a service account with read access.")
@_deployment
@click.option("--skip-validation", is_flag=True, help="Monte Carlo does not try to connect.")
@click.option("--skip-permission-tests", is_flag=True, help="Monte Carlo does not try to read.")
@click.option("--not-from-here", is_flag=True, help="Do not log in from this machine first (no way to the server).")
@_shared
def test_credentials(
    *,
    config_path: Path | None,
    as_json: bool,
    yes: bool,
    dry_run: bool,
    deployment: str | None,
    skip_validation: bool,
    skip_permission_tests: bool,
    not_from_here: bool,
    **server: Any,
) -> None:
    """Let Monte Carlo try the Spark server and keep its credentials; prints the key that `setup integration` takes.

    The password comes from the configuration, from MC_PUSH_SPARK_PASSWORD, or is asked for; never from the command
    line.
    """
    from mc_push_dagster.gateway.setup import try_spark_credentials

    config, connection = _opened(config_path)
    target = spark_server(config.warehouse if config else {}, dry_run=dry_run, **server)
    deployment = _needed(deployment, "--deployment", DEPLOYMENT_VARIABLE)
    shown = {n: v for n, v in vars_of(target).items() if n != "password"} | {"password": "(not shown)"}
    plan = Plan(
        does="Monte Carlo will log in to the Spark server and keep the credentials under a temporary key.",
        mutation="testSparkCredentials",
        where=place(connection),
        values=shown
        | {"dcId": deployment, "skipValidation": skip_validation, "skipPermissionTests": skip_permission_tests},
    )
    if not agreed(plan, yes=yes, dry_run=dry_run, as_json=as_json):
        return
    if not not_from_here:
        log_in(target, config.warehouse if config else {})
    answer = try_spark_credentials(
        _client(connection),
        target,
        deployment_uuid=deployment,
        skip_validation=skip_validation,
        skip_permission_tests=skip_permission_tests,
    )
    if not answer.success or not answer.key:
        raise FixAccess("Monte Carlo could not use these credentials; check address, user, rights and network access")
    if as_json:
        print_json({"success": True, "credentials_key": answer.key, "logged_in_from_here": not not_from_here})
        return
    click.echo(f"Monte Carlo keeps the credentials. Next: mc-push setup integration --credentials-key {answer.key}")


@setup.command()
@click.option("--name", help="The integration's name in Monte Carlo, e.g. 'IOMETE Production'.")
@click.option("--resource", metavar="UUID", help="Change this integration in place of creating one.")
@click.option(
    "--credentials-key", metavar="KEY", help="From `setup test-credentials`; without it there are no monitors."
)
@_deployment
@_shared
def integration(
    *,
    name: str | None,
    resource: str | None,
    credentials_key: str | None,
    deployment: str | None,
    config_path: Path | None,
    as_json: bool,
    yes: bool,
    dry_run: bool,
) -> None:
    """Create a custom integration: metadata, query logs and lineage pushed, monitors collected over Spark.

    Prints the UUID of its resource (warehouse), which every push names: set it as MCD_RESOURCE_UUID.
    """
    from mc_push_dagster.gateway.setup import collect_over_spark, create_or_update_custom_integration

    _config, connection = _opened(config_path)
    if bool(name) == bool(resource):
        raise FixConfiguration("say either --name, to create an integration, or --resource, to change one")
    monitors = None
    if credentials_key:
        deployment = _needed(deployment, "--deployment", DEPLOYMENT_VARIABLE)
        monitors = collect_over_spark(credentials_key=credentials_key, deployment_uuid=deployment)
    pushed = dict.fromkeys(("metadata", "queryLogs", "lineage"), "PUSH")
    collected = f"COLLECT over spark, deployment {deployment}" if monitors else "left as they are (none, if new)"
    which = {"warehouseUuid": resource} if resource else {"name": name}
    plan = Plan(
        does=f"A custom integration will be {'changed' if resource else 'created'}.",
        mutation="createOrUpdateCustomIntegration",
        where=place(connection),
        values=which | pushed | {"monitors": collected},
    )
    if not agreed(plan, yes=yes, dry_run=dry_run, as_json=as_json):
        return
    if name:
        _refuse_twin(connection, name)
    try:
        made = create_or_update_custom_integration(
            _client(connection), name=name, resource_uuid=resource, monitors=monitors
        )
    except MaybeDelivered as error:
        raise _looked_up(connection, name, error) from error
    if as_json:
        print_json({"resource_uuid": made.resource_uuid, "connections": made.connections})
        return
    for c in made.connections:
        click.echo(f"{c.capability}: {c.type or 'connection'} {c.uuid}", err=True)
    click.echo(f"MCD_RESOURCE_UUID={made.resource_uuid}")


@setup.command()
@click.option(
    "--resource",
    envvar=["MCD_RESOURCE_UUID", "MC_RESOURCE_UUID"],
    show_envvar=True,
    metavar="UUID",
    help="The resource that the key may push to: no other.",
)
@click.option("--description", default="mc-push-dagster", show_default=True, help="How Monte Carlo lists the key.")
@click.option(
    "--env-file",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write id, secret and resource to this new file, which only you may read.",
)
@click.option("--print-secret", is_flag=True, help="Print id and secret on standard output in place of a file.")
@_shared
def key(
    *,
    resource: str | None,
    description: str,
    target: Path | None,
    print_secret: bool,
    config_path: Path | None,
    as_json: bool,
    yes: bool,
    dry_run: bool,
) -> None:
    """Create an ingestion key for one resource. Monte Carlo shows its secret once: say where it shall go."""
    from mc_push_dagster.gateway.setup import INGESTION, create_integration_key

    config, connection = _opened(config_path)
    if (target is None) == (not print_secret):
        raise FixConfiguration("say where the secret shall go: --env-file FILE or --print-secret")
    resource = _needed(
        resource or (config.monte_carlo.resource_uuid if config else None), "--resource", "MCD_RESOURCE_UUID"
    )
    plan = Plan(
        does=f"An ingestion key will be created; its secret goes to {target or 'standard output'}.",
        mutation="createIntegrationKey",
        where=place(connection),
        values={"description": description, "scope": INGESTION, "warehouseIds": [resource]},
    )
    if not agreed(plan, yes=yes, dry_run=dry_run, as_json=as_json):
        return
    client = _client(connection)
    with env_file(target) as stream:
        made = create_integration_key(client, description=description, resource_uuids=[resource])
        secret = made.secret.get_secret_value()
        variables = {"MCD_INGEST_ID": made.id, "MCD_INGEST_TOKEN": secret, "MCD_RESOURCE_UUID": resource}
        if stream is not None:
            lost = f"key {made.id} was made and its secret is lost; delete it and make another"
            write_variables(stream, variables | endpoints(connection), lost=lost)
    if as_json:
        shown = {"secret": secret} if print_secret else {"env_file": str(target)}
        print_json({"id": made.id, "scope": INGESTION, "resource_uuid": resource} | shown)
    elif print_secret:
        click.echo("".join(f"{n}={v}\n" for n, v in variables.items()), nl=False)
    else:
        path = target if target and target.is_absolute() else f"./{target}"
        click.echo(f"Key {made.id} is in {target}. Next: set -a; . {path}; set +a; mc-push push")


# -- what the commands share ------------------------------------------------------------------------------------------


def _opened(path: Path | None) -> tuple[PushConfig | None, Connection]:
    config = read(path) if path else None
    connection = Connection.from_environment(config.monte_carlo if config else MonteCarloConfig(), os.environ)
    if connection is None or connection.api_key is None:
        raise FixConfiguration(
            "setting up needs an API key: set MCD_ID and MCD_TOKEN (to practise, run `mc-push sandbox` in another "
            "terminal and copy its lines)"
        )
    return config, connection


def _client(connection: Connection) -> GraphQLClient:
    from mc_push_dagster.gateway.client import GraphQLClient

    return GraphQLClient(connection)


def _needed(value: str | None, option: str, variable: str) -> str:
    if not value:
        raise FixConfiguration(f"{option} is missing; give it or set {variable}")
    return value


def _refuse_twin(connection: Connection, name: str) -> None:
    twins = _named(connection, name)
    if twins:
        raise FixConfiguration(
            f"an integration named {name!r} exists already ({', '.join(twins)}): use it, change it with --resource, "
            "or choose another name"
        )


def _named(connection: Connection, name: str) -> list[str]:
    from mc_push_dagster.gateway.graphql import GraphQLReader

    with GraphQLReader(connection) as reader:
        return [w.uuid for w in reader.warehouses() if w.name == name]


def _looked_up(connection: Connection, name: str | None, error: MaybeDelivered) -> MaybeDelivered:
    """No answer came: say whether the integration is there now."""
    found = _named(connection, name) if name else []
    if found:
        return MaybeDelivered(f"the answer was lost, but the integration is there: MCD_RESOURCE_UUID={found[0]}")
    return MaybeDelivered(f"the answer was lost ({error}); look at the integrations before trying again")
