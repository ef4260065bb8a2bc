"""`mc-push`: all that the Dagster assets do, without Dagster. One file a command; each is loaded when it is used.

Exit codes: 0 done, 1 partly or not done, 2 usage or configuration. With `--json`, standard output carries one JSON
document, also where a command fails: `{"error": {"kind": ..., "message": ...}}`.
"""

from __future__ import annotations

import difflib
import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from mc_push_dagster.errors import FixConfiguration, PushError
from mc_push_dagster.version import __version__

TRACEBACK_VARIABLE = "MC_PUSH_TRACEBACK"

STOPPED = "Stopped. What was done until now is kept; the same command goes on from there."

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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        near = [] if args[0] in COMMANDS else difflib.get_close_matches(args[0], COMMANDS, n=1)
        if near:
            ctx.fail(f"No such command {args[0]!r}: did you mean {near[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mc-push")
def cli() -> None:
    """Feed Monte Carlo from any SQL warehouse through its Push Ingest API."""


def main() -> None:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks is shown escaped.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Who started us may have switched Ctrl-C off (nohup, a shell's background): that stays.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _first_interrupt)
    sys.exit(run(sys.argv[1:]))


def _first_interrupt(*_: object) -> None:
    signal.signal(signal.SIGINT, _second_interrupt)
    click.echo("Stopping when the requests under way are answered; Ctrl-C again stops now.", err=True)
    raise KeyboardInterrupt


def _second_interrupt(*_: object) -> None:
    # Bodies and receipts are durable at any moment: the next push finds out what became of the requests under way.
    os.write(2, f"{STOPPED}\n".encode())
    os._exit(1)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; every failure becomes one sentence on standard error."""
    try:
        return cli.main(list(arguments), prog_name="mc-push", standalone_mode=False) or 0
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0 if done.code is None else 1
    except click.ClickException as error:
        error.show()
        code, sentence = 2, None
        told: Exception = error
    except (click.Abort, KeyboardInterrupt):
        click.echo(STOPPED, err=True)
        return 1
    except BrokenPipeError:
        # Who reads our output has seen enough (`| head`); what is still buffered must not fail at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except PushError as error:
        told, code, sentence = error, exit_code(error), str(error)
    except OSError as error:
        where = f": {error.filename}" if error.filename is not None else ""
        told, code, sentence = error, 1, f"{error.strerror or error}{where}"
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        told, code = error, 1
        sentence = f"{one_line(error)} (not foreseen: {TRACEBACK_VARIABLE}=1 shows where it came from)"
    if sentence is not None:
        click.echo(f"Error: {sentence}", err=True)
    if "--json" in arguments:
        from mc_push_dagster.cli.screen import error_document, print_json

        print_json({"error": error_document(told)})
    return code


def exit_code(error: PushError) -> int:
    """2 where the configuration must change, 1 where something was not done."""
    return 2 if isinstance(error, FixConfiguration) else 1


def one_line(error: Exception) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
