"""What a user may set for Snowflake: how to read (`SnowflakeOptions`), and how to connect (`SnowflakeSettings`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, model_validator

from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.warehouses._query_log import QueryLogFilter
from mc_push_dagster.warehouses._snowflake_sql import session_parameters
from mc_push_dagster.warehouses.base import Settings

OWN_TAG = "mc-push-dagster"
"""The default query tag of our statements, by which they are left out of the log."""


class SnowflakeOptions(Settings):
    """How Snowflake is read, whoever opens the connection."""

    catalog: Literal["information_schema", "account_usage"] = Field(
        default="information_schema",
        description="information_schema: fresh, one set of statements a database; account_usage: the whole account in "
        "two statements, up to 90 minutes late.",
    )
    access_history: Literal["auto", "required", "off"] = Field(
        default="auto",
        description="The log of writes and of lineage (Enterprise Edition): used where it can be read (auto), or a gap "
        "is recorded where it cannot (required).",
    )
    change_days: int = Field(default=7, ge=1, le=365, description="How far back the log of writes is read for changes.")
    tags: bool = Field(default=True, description="Read tags (Enterprise Edition) from ACCOUNT_USAGE.TAG_REFERENCES.")
    skip_databases: tuple[str, ...] = Field(
        default=("SNOWFLAKE", "SNOWFLAKE_SAMPLE_DATA"), description="Databases that are never read, by exact name."
    )
    query_log: QueryLogFilter = QueryLogFilter()
    query_tag: str = Field(default=OWN_TAG, min_length=1, max_length=2000, description="Marks our own statements.")
    timeout_seconds: int = Field(
        default=300, ge=1, le=86_400, description="How long one statement may take, retries of the driver included."
    )


class SnowflakeSettings(SnowflakeOptions):
    """A connection by settings: a password, a key pair, or a token (OAuth, programmatic access)."""

    account: str = Field(min_length=1, description="Account identifier, e.g. myorg-myaccount.")
    user: str | None = Field(default=None, description="Not needed with an OAuth token.")
    password: SecretStr | None = None
    private_key: SecretStr | None = Field(default=None, description="PEM text of a private key.")
    key_file: Path | None = Field(default=None, description="File with a private key (PEM).")
    private_key_passphrase: SecretStr | None = None
    token: SecretStr | None = Field(default=None, description="OAuth token, or what `authenticator` calls for.")
    authenticator: str | None = Field(default=None, description="Default: by the credentials that are given.")
    role: str | None = None
    warehouse: str | None = Field(default=None, description="Default: the user's own default warehouse.")
    host: str | None = Field(default=None, description="Default: by `account`; a private link's or a proxy's host.")
    port: int | None = None
    protocol: Literal["https", "http"] = "https"
    login_timeout_seconds: int = Field(default=60, ge=1, description="How long a login may take, retries included.")
    session_parameters: dict[str, str | int | bool] = Field(default={}, description="Further session parameters.")

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        given = [name for name in ("password", "private_key", "key_file", "token") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of {' and '.join(given)}, not both")
        if not given and self.authenticator is None:
            raise ValueError("give password, private_key, key_file or token, or name an authenticator")
        if self.user is None and self.token is None:
            raise ValueError("user is missing")
        if self.protocol == "http" and self.host not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("http would send the credentials in clear text: it serves loopback hosts only")
        ours = {name for name in self.session_parameters if name.upper() in session_parameters("", 1)}
        if ours:
            raise ValueError(f"session_parameters: {', '.join(sorted(ours))} is set by mc-push itself")
        return self

    def arguments(self) -> Mapping[str, Any]:
        """The driver's arguments.

        Raises:
            FixConfiguration: if the private key cannot be read.
        """
        plain = {
            "account": self.account,
            "user": self.user,
            "role": self.role,
            "warehouse": self.warehouse,
            "host": self.host,
            "port": self.port,
        }
        return {
            **{name: value for name, value in plain.items() if value is not None},
            **self._credentials(),
            "protocol": self.protocol,
            "application": "mc_push_dagster",
            "paramstyle": "qmark",
            "login_timeout": self.login_timeout_seconds,
            "network_timeout": self.timeout_seconds,
            "session_parameters": {
                **self.session_parameters,
                **session_parameters(self.query_tag, self.timeout_seconds),
            },
        }

    def _credentials(self) -> dict[str, Any]:
        named = {"authenticator": self.authenticator} if self.authenticator else {}
        if self.password is not None:
            return {"password": self.password.get_secret_value(), **named}
        if self.token is not None:
            return {"authenticator": "oauth", "token": self.token.get_secret_value(), **named}
        if self.private_key is not None or self.key_file is not None:
            return {"private_key": self._key(), **named}
        return named

    def _key(self) -> bytes:
        """The private key as the driver takes it: PKCS #8, DER, unencrypted."""
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
            load_pem_private_key,
        )

        try:
            if self.private_key is not None:
                pem = self.private_key.get_secret_value().encode()
            else:
                assert self.key_file is not None
                pem = self.key_file.expanduser().read_bytes()
            phrase = self.private_key_passphrase
            key = load_pem_private_key(pem, phrase.get_secret_value().encode() if phrase else None)
        except OSError as error:
            raise FixConfiguration(f"key_file {self.key_file}: {error.strerror}") from error
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # The library's message may quote the key: it is left out.
            raise FixConfiguration("private key: it is no PEM key, or its passphrase is wrong or missing") from None
        return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
