"""Which Spark server a setup command means, and whether it lets us in."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from mc_push_dagster.errors import FixConfiguration

if TYPE_CHECKING:
    from mc_push_dagster.gateway.setup import SparkBinary, SparkHttp

PASSWORD_VARIABLE = "MC_PUSH_SPARK_PASSWORD"  # noqa: S105 - a name


def spark_server(
    configured: Mapping[str, Any],
    *,
    url: str | None,
    host: str | None,
    port: int,
    database: str,
    username: str | None,
    dry_run: bool,
) -> SparkHttp | SparkBinary:
    """The Spark server of the options, or of the configured warehouse; asks for a password that is given nowhere.

    Raises:
        FixConfiguration: if something is missing, or both transports are meant.
    """
    from pydantic import SecretStr

    from mc_push_dagster.gateway.setup import SparkBinary, SparkHttp

    if url and host:
        raise FixConfiguration("say either --url (HTTP) or --host (binary)")
    if not url and not host:
        url, host = configured.get("url"), configured.get("host")
        port, database = configured.get("port", port), configured.get("database", database)
    if not url and not host:
        raise FixConfiguration("which Spark server? Say --url or --host, or name a --config of type spark")
    username = username or configured.get("username")
    if not username:
        raise FixConfiguration("--username is missing; give it or set `username` in the configuration")
    password = configured.get("password") or os.environ.get(PASSWORD_VARIABLE)
    if not password and not dry_run:
        if not sys.stdin.isatty():
            raise FixConfiguration(
                f"the password is missing: set {PASSWORD_VARIABLE}, or `password` in the configuration"
            )
        password = click.prompt(f"Password of {username}", hide_input=True, err=True)
    secret = SecretStr(str(password or ""))
    if url:
        return SparkHttp(url=url, username=username, password=secret)
    return SparkBinary(host=str(host), port=port, database=database, username=username, password=secret)


def vars_of(server: SparkHttp | SparkBinary) -> dict[str, Any]:
    """The server's fields by name."""
    return {name: getattr(server, name) for name in type(server).__dataclass_fields__}


def log_in(server: SparkHttp | SparkBinary, configured: Mapping[str, Any]) -> None:
    """Open and close a session: a wrong password or path is told in one sentence before Monte Carlo is asked."""
    from mc_push_dagster.warehouses.spark import SparkSettings

    manner = {name: configured[name] for name in ("tls", "ca_file", "verify") if name in configured}
    given = vars_of(server) | manner
    if "host" in given:
        auth = configured.get("auth", "NONE")
        given["auth"] = "LDAP" if auth == "NONE" else auth  # the same on the wire, and the password is sent
    with closing(SparkSettings(**given).connect()):
        pass
