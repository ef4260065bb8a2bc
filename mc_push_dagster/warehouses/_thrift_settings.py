"""Connection settings that Spark and Hive share, and how they become an open pyhive connection."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, field_validator, model_validator

from mc_push_dagster.errors import FixAccess, FixConfiguration, MissingExtra, PushError
from mc_push_dagster.warehouses import _thrift_transport as wire
from mc_push_dagster.warehouses.base import Settings


class ThriftOptions(Settings):
    """What remains to be set where a user's own resource opens the connection."""

    server_time_zone: str | None = Field(
        default=None,
        description="Zone of the server's clock, if not UTC, e.g. Europe/Berlin: times it prints are read with it.",
    )

    @field_validator("server_time_zone")
    @classmethod
    def _a_zone(cls, name: str | None) -> str | None:
        if name is not None:
            try:
                ZoneInfo(name)
            except (ZoneInfoNotFoundError, ValueError) as error:
                raise ValueError(f"no time zone {name!r}; write a name like Europe/Berlin") from error
        return name

    @property
    def zone(self) -> ZoneInfo | None:
        return ZoneInfo(self.server_time_zone) if self.server_time_zone else None

    @property
    def where(self) -> str:
        """The server, for messages."""
        return "the Thrift server"

    def connect(self) -> Any:
        """Raises FixConfiguration: these options say nothing of a server."""
        raise FixConfiguration("no connection: set `url` or `host`, or lend one with `connection_resource`")


class ThriftSettings(ThriftOptions):
    """Where the Thrift server listens and who we are: `url` for HTTP, or `host` and `port` for the binary protocol."""

    url: str | None = Field(
        default=None,
        description="HTTP transport: http(s)://host:port/path, the path as the server has it, e.g. /cliservice.",
    )
    host: str | None = Field(default=None, description="Binary transport: the server's host.")
    port: int = Field(default=10_000, ge=1, le=65_535, description="Binary transport: the server's port.")
    auth: Literal["NONE", "NOSASL", "LDAP", "CUSTOM", "KERBEROS"] = Field(
        default="NONE", description="Binary transport: the server's hive.server2.authentication; HTTP is always basic."
    )
    username: str | None = Field(default=None, description="Whom to log in as.")
    password: SecretStr | None = Field(default=None, description="Needed for HTTP, LDAP and CUSTOM.")
    kerberos_service: str = Field(default="hive", description="KERBEROS: the service part of the server's principal.")
    tls: bool = Field(default=False, description="Binary transport: TLS on the socket.")
    ca_file: str | None = Field(default=None, description="Certificates to trust in place of the system's (PEM).")
    verify: bool = Field(default=True, description="False trusts any certificate: for tests only.")
    timeout_seconds: float = Field(default=300, gt=0, description="How long one answer may take.")
    database: str = Field(default="default", description="The database the session starts in.")

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write http://host:port/path or https://host/path")
        if parts.username or parts.password:
            raise ValueError("user and password do not belong in the address; use `username` and `password`")
        return url

    @model_validator(mode="after")
    def _one_way_in(self) -> ThriftSettings:
        if (self.url is None) == (self.host is None):
            raise ValueError("set either `url` (HTTP) or `host` (binary)")
        if self.url is not None and (self.username is None or self.password is None):
            raise ValueError("HTTP needs `username` and `password` (or an access token as the password)")
        if self.url is not None and self.auth != "NONE":
            raise ValueError("`auth` is for the binary protocol; HTTP always uses basic authentication")
        needs = self.host is not None and self.auth in ("LDAP", "CUSTOM")
        if needs and (self.username is None or self.password is None):
            raise ValueError(f"auth {self.auth} needs `username` and `password`")
        return self

    @property
    def where(self) -> str:
        """The server's address for messages."""
        return wire.shown(self.url) if self.url else f"{self.host}:{self.port}"

    def connect(self) -> Any:
        """Open a pyhive connection whose session runs in UTC.

        Raises:
            FixAccess, FixConfiguration, WarehouseUnavailable: as `_thrift_transport.spoken` says.
            MissingExtra: if pyhive or a part of it is not installed.
        """
        try:
            from pyhive import exc, hive
        except ImportError as error:
            raise MissingExtra(what="the Thrift client", extra=wire.EXTRA) from error
        username = self.username or "anonymous"
        transport = self._transport(username)
        try:
            with wire.spoken(self.where):
                # pyhive ignores plain keys: a session setting needs this prefix.
                zone = {"set:hiveconf:spark.sql.session.timeZone": "UTC"}
                return hive.connect(
                    username=username, database=self.database, configuration=zone, thrift_transport=transport
                )
        except (exc.Error, AssertionError) as error:
            raise _refused(self.where, error) from error

    def _transport(self, username: str) -> Any:
        password = self.password.get_secret_value() if self.password else None
        if self.url is not None:
            return wire.http_transport(
                self.url,
                username=username,
                password=password or "",
                timeout=self.timeout_seconds,
                ca_file=self.ca_file,
                verify=self.verify,
            )
        assert self.host is not None
        return wire.binary_transport(
            self.host,
            self.port,
            auth=self.auth,
            username=username,
            password=password,
            kerberos_service=self.kerberos_service,
            timeout=self.timeout_seconds,
            tls=wire.tls_context(ca_file=self.ca_file, verify=self.verify) if self.tls else None,
        )


def _refused(where: str, error: Exception) -> PushError:
    from mc_push_dagster.warehouses._thrift import first_sentence

    status = getattr(error.args[0], "status", None) if error.args else None
    reason = first_sentence(status.errorMessage or "") if status else "the server speaks another protocol version"
    return FixAccess(f"{where} opens no session: {reason}")
