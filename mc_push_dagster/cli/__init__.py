"""`mc-push`: all that the Dagster assets do, without Dagster. One file a command; each is loaded when it is used.

Exit codes: 0 done, 1 partly or not done, 2 usage or configuration.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

from mc_push_dagster.errors import FixConfiguration, PushError
from mc_push_dagster.version import __version__

COMMANDS = {
    "collect": "Read the warehouse and write a manifest; nothing is sent.",
    "push": "Push catalog, lineage and query logs, or a manifest.",
    "verify": "Ask Monte Carlo whether what was pushed arrived.",
    "doctor": "Check configuration, keys, warehouse rights and storage.",
    "lineage": "Lineage of SQL: from standard input, or explained.",
    "setup": "Create what a push needs in Monte Carlo.",
    "sandbox": "Serve a local stand-in for Monte Carlo.",
    "demo": "Build the demo shop, push it, and show what arrived.",
}


class LazyGroup(click.Group):
    """Lists commands by name and imports one only when it is called: `mc-push --help` stays instant."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return getattr(import_module(f"mc_push_dagster.cli.{cmd_name}"), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mc-push")
def cli() -> None:
    """Feed Monte Carlo from any SQL warehouse through its Push Ingest API."""


def main() -> None:
    """Run the command line; every error we raise on purpose becomes one sentence on standard error."""
    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped. What was collected is kept; the same command goes on from there.", err=True)
        sys.exit(1)
    except FixConfiguration as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except PushError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
