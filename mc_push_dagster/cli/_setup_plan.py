"""How a setup command shows what it will change, asks, and puts a secret where the user said."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click

from mc_push_dagster.cli.screen import print_json
from mc_push_dagster.errors import FixConfiguration, StorageFault
from mc_push_dagster.gateway.connection import Connection


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One change in Monte Carlo, told before it is made; holds no secret."""

    does: str
    """One sentence."""
    mutation: str
    where: str
    values: Mapping[str, Any]

    def show(self) -> None:
        """Print it for people, on standard error."""
        click.echo(f"{self.does}\n\n  mutation {self.mutation} at {self.where}", err=True)
        for name, value in self.values.items():
            click.echo(f"    {name}: {value}", err=True)
        click.echo("", err=True)


def place(connection: Connection) -> str:
    """The API that will be asked, in words that cannot be mistaken."""
    kind = "a local sandbox, not Monte Carlo" if connection.is_sandbox else "Monte Carlo"
    return f"{connection.api_endpoint} ({kind})"


def agreed(plan: Plan, *, yes: bool, dry_run: bool, as_json: bool) -> bool:
    """Show the plan and ask; False for a dry run.

    Raises:
        FixConfiguration: if a machine reads the answer and nobody can be asked.
    """
    if dry_run:
        if as_json:
            print_json({"dry_run": True, "would": plan})
        else:
            plan.show()
            click.echo("Dry run: nothing was changed.", err=True)
        return False
    if yes:
        if not as_json:
            plan.show()
        return True
    if as_json:
        raise FixConfiguration("with --json nobody can be asked: say --yes to make the change, or --dry-run to see it")
    plan.show()
    click.confirm("Do it?", abort=True, err=True)
    return True


@contextmanager
def env_file(path: Path | None) -> Iterator[IO[str] | None]:
    """A new file that only its owner may read, made before the change so that nothing is lost for want of it.

    Where the change fails, the file is taken away again.

    Raises:
        FixConfiguration: if it exists already or cannot be made.
    """
    if path is None:
        yield None
        return
    try:
        # O_EXCL: never a file that is there, nor through a link that another user has laid.
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise FixConfiguration(f"{path} exists; secrets are written to new files only: name another") from error
    except OSError as error:
        raise FixConfiguration(f"{path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(number, "w", encoding="utf-8") as stream:
            yield stream
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def write_variables(stream: IO[str], variables: Mapping[str, str], *, lost: str) -> None:
    """Write lines for `set -a; . FILE; set +a`.

    Raises:
        StorageFault: if the disk does not take them; `lost` says what was made in vain.
    """
    try:
        for name, value in variables.items():
            stream.write(f"{name}={shlex.quote(value)}\n")
        stream.flush()
        os.fsync(stream.fileno())
    except OSError as error:
        raise StorageFault(f"the file could not be written ({error.strerror}): {lost}") from error


def endpoints(connection: Connection) -> dict[str, str]:
    """The variables that name the endpoints; production needs none."""
    if not connection.is_sandbox:
        return {}
    return {
        "MC_PUSH_INGEST_ENDPOINT": connection.ingest_endpoint,
        "MC_PUSH_API_ENDPOINT": connection.api_endpoint,
    }
