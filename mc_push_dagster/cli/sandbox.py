"""`mc-push sandbox`: serve a local stand-in for Monte Carlo until Ctrl-C."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mc_push_dagster.config import home

if TYPE_CHECKING:
    from mc_push_dagster.sandbox import Fault, Sandbox


@click.command()
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where its data is kept; several sandboxes may share one.  [default: sandbox in the home folder]",
)
@click.option(
    "--faults", metavar="JSON|FILE", help='A fault plan, e.g. \'[{"path": "metadata", "status": 503, "times": 2}]\'.'
)
@click.option(
    "--visibility-delay",
    default=0.0,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="From an accepted push to its being visible.",
)
@click.option(
    "--query-log-delay",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="The same for query logs.  [default: as --visibility-delay]",
)
@click.option(
    "--measure", default="raw", show_default=True, type=click.Choice(["raw", "gzip"]), help="What 1 MB limits."
)
@click.option("--lenient", is_flag=True, help="Drop the rules that no source states.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def sandbox(
    *,
    port: int,
    folder: Path | None,
    faults: str | None,
    visibility_delay: float,
    query_log_delay: float | None,
    measure: str,
    lenient: bool,
    as_json: bool,
) -> None:
    """Serve a local stand-in for Monte Carlo on 127.0.0.1: REST, GraphQL, and a page to look at. Ctrl-C stops it.

    It enforces the published contract of the Push Ingest API. It is NOT Monte Carlo: its keys open nothing else, and
    nothing you push to it leaves this machine.
    """
    from mc_push_dagster.sandbox import serve

    with (
        _stop_signals() as stop,
        serve(
            folder or home() / "sandbox",
            port=port,
            faults=_plan(faults),
            visibility_delay=timedelta(seconds=visibility_delay),
            query_log_delay=None if query_log_delay is None else timedelta(seconds=query_log_delay),
            measure="gzip" if measure == "gzip" else "raw",
            lenient=lenient,
        ) as box,
    ):
        click.echo(_line(box) if as_json else _words(box))
        while not stop.wait(0.5):
            pass
    if not as_json:
        click.echo("Stopped. Its data is kept; the same command serves it again.")


def _plan(text: str | None) -> list[Fault]:
    """Read `--faults`: JSON as it stands, or the name of a file that holds it."""
    from mc_push_dagster.errors import FixConfiguration
    from mc_push_dagster.sandbox.faults import parse_faults

    if text is None:
        return []
    if text.lstrip().startswith(("[", "{")):
        return parse_faults(text)
    try:
        return parse_faults(Path(text).read_bytes())
    except OSError as error:
        raise FixConfiguration(f"fault plan {text} cannot be read: {error.strerror}") from error


def _line(box: Sandbox) -> str:
    return json.dumps({"url": box.url, "resource_uuid": box.resource_uuid, "environment": box.environment()})


def _words(box: Sandbox) -> str:
    exports = "\n".join(f"export {name}={value}" for name, value in box.environment().items())
    return (
        f"A local sandbox, NOT Monte Carlo, at {box.url}  (Ctrl-C stops it)\n\n"
        f"Warehouse `demo`: {box.resource_uuid}\nData: {box.folder}\n\n"
        f"To push to it, copy these lines into another terminal:\n\n{exports}\n"
    )


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C or a termination signal sets, so that the server ends in order whenever they come."""
    stop = threading.Event()
    before = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
