"""Whom we talk to and with which keys, decided once and in full view.

pycarlo's `Session` takes keys and endpoints from the environment and from `~/.mcd/profiles.ini` when it is not told
otherwise, and lets them win over what it was told: a real key then goes to production although a sandbox was meant. So
nothing here or behind here reads the variables `MCD_DEFAULT_*`, `MCD_API_ENDPOINT`, or a profile; and a `Connection`
that mixes a sandbox and the real Monte Carlo cannot be built.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import SecretStr

from mc_push_dagster.config import MonteCarloConfig
from mc_push_dagster.errors import EndpointMismatch, FixConfiguration

PRODUCTION_INGEST = "https://integrations.getmontecarlo.com"
PRODUCTION_API = "https://api.getmontecarlo.com/graphql"
SANDBOX_PREFIX = "sandbox-"
"""How the ids of the sandbox's keys begin."""

INGEST_ENDPOINT = "MC_PUSH_INGEST_ENDPOINT"
API_ENDPOINT = "MC_PUSH_API_ENDPOINT"
# The first pair is the guides' own; the second is push-ingest-api's ("Initialize the client").
INGEST_PAIRS = (("MCD_INGEST_ID", "MCD_INGEST_TOKEN"), ("MC_INGEST_KEY_ID", "MC_INGEST_KEY_TOKEN"))
API_PAIRS = (("MCD_ID", "MCD_TOKEN"),)
RESOURCE_VARIABLES = ("MCD_RESOURCE_UUID", "MC_RESOURCE_UUID")

# What may stand in an HTTP header without folding or injection.
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An integration key or an API key: its id, and its secret, which no text form of it shows."""

    id: str
    secret: SecretStr

    def __post_init__(self) -> None:
        for name, value in (("id", self.id), ("secret", self.secret.get_secret_value())):
            if not _HEADER_SAFE.fullmatch(value):
                raise FixConfiguration(f"the {name} of a key is empty or has spaces or other odd characters in it")

    @classmethod
    def of(cls, id: str, secret: str) -> Self:
        """Build a key from plain text; spaces and line ends around it (a file's last line) are dropped.

        Raises:
            FixConfiguration: if either part is empty or could not stand in a header.
        """
        return cls(id=id.strip(), secret=SecretStr(secret.strip()))

    @property
    def is_sandbox(self) -> bool:
        return self.id.startswith(SANDBOX_PREFIX)


class PlainKey(Protocol):
    """A key as the sandbox shows it."""

    @property
    def id(self) -> str: ...
    @property
    def secret(self) -> str: ...


class SandboxLike(Protocol):
    """What a running sandbox tells about itself."""

    @property
    def ingest_endpoint(self) -> str: ...
    @property
    def api_endpoint(self) -> str: ...
    @property
    def ingest_key(self) -> PlainKey: ...
    @property
    def api_key(self) -> PlainKey: ...
    @property
    def resource_uuid(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Both endpoints of one Monte Carlo, real or sandbox, and the keys for them.

    Raises:
        EndpointMismatch: if a sandbox key and a real endpoint, a real key and a loopback endpoint, or a loopback
            endpoint and a real one stand together.
        FixConfiguration: if an endpoint is no URL, or would carry a key without TLS.
    """

    ingest_endpoint: str
    api_endpoint: str
    ingest_key: Key | None = None
    api_key: Key | None = None
    resource_uuid: str | None = None

    def __post_init__(self) -> None:
        local = {name: is_loopback(url, name=name) for name, url in self._endpoints()}
        if len(set(local.values())) > 1:
            raise EndpointMismatch(
                f"one endpoint is a sandbox, the other is not ({self.ingest_endpoint}, {self.api_endpoint}): "
                f"set both {INGEST_ENDPOINT} and {API_ENDPOINT}, or neither"
            )
        for kind, key, endpoint in (
            ("ingestion", self.ingest_key, self.ingest_endpoint),
            ("API", self.api_key, self.api_endpoint),
        ):
            if key is not None and key.is_sandbox != self.is_sandbox:
                real, place = ("a sandbox", "the real Monte Carlo") if key.is_sandbox else ("a real", "a sandbox")
                raise EndpointMismatch(
                    f"{real} {kind} key ({key.id}) would go to {place} ({endpoint}): unset one of the two"
                )

    @classmethod
    def to_sandbox(cls, box: SandboxLike) -> Self:
        """Connect to a running sandbox with its own keys."""
        return cls(
            ingest_endpoint=box.ingest_endpoint,
            api_endpoint=box.api_endpoint,
            ingest_key=Key.of(box.ingest_key.id, box.ingest_key.secret),
            api_key=Key.of(box.api_key.id, box.api_key.secret),
            resource_uuid=box.resource_uuid,
        )

    def _endpoints(self) -> tuple[tuple[str, str], tuple[str, str]]:
        return (("ingest endpoint", self.ingest_endpoint), ("API endpoint", self.api_endpoint))

    @property
    def is_sandbox(self) -> bool:
        """Whether this is a local stand-in and not Monte Carlo."""
        return is_loopback(self.ingest_endpoint, name="ingest endpoint")

    def need_ingest_key(self) -> Key:
        """Return the ingestion key.

        Raises:
            FixConfiguration: if there is none.
        """
        if self.ingest_key is None:
            raise FixConfiguration(
                "pushing needs an ingestion key: set MCD_INGEST_ID and MCD_INGEST_TOKEN (`mc-push setup key` makes one)"
            )
        return self.ingest_key

    def need_api_key(self) -> Key:
        """Return the GraphQL API key.

        Raises:
            FixConfiguration: if there is none.
        """
        if self.api_key is None:
            raise FixConfiguration(
                "asking Monte Carlo needs an API key (not the ingestion key): set MCD_ID and MCD_TOKEN"
            )
        return self.api_key

    def need_resource(self) -> str:
        """Return the UUID of the resource that is pushed to.

        Raises:
            FixConfiguration: if there is none.
        """
        if self.resource_uuid is None:
            raise FixConfiguration(
                "which Monte Carlo resource? Set MCD_RESOURCE_UUID, or resource_uuid in the configuration"
            )
        return self.resource_uuid

    @classmethod
    def from_environment(cls, config: MonteCarloConfig, environment: Mapping[str, str]) -> Connection | None:
        """Read endpoints and keys; None if nothing at all is configured, so that the caller may start the sandbox.

        Configuration wins over the environment for endpoints and resource; keys come from the environment alone. Where
        only one endpoint is given and it is a loopback address, the other is taken to be the same sandbox's.

        Raises:
            FixConfiguration: if a key is given by half, the resource is no UUID, or an endpoint is no URL.
            EndpointMismatch: see the class.
        """
        ingest = config.ingest_endpoint or _set(environment, INGEST_ENDPOINT)
        api = config.api_endpoint or _set(environment, API_ENDPOINT)
        ingest_key, api_key = _key(environment, INGEST_PAIRS), _key(environment, API_PAIRS)
        resource = config.resource_uuid or _set(environment, *RESOURCE_VARIABLES)
        if not any((ingest, api, ingest_key, api_key, resource)):
            return None
        if resource is not None:
            resource = _uuid(resource)
        if ingest is None:
            ingest = _origin(api) if api and is_loopback(api, name="API endpoint") else PRODUCTION_INGEST
        if api is None:
            local = is_loopback(ingest, name="ingest endpoint")
            api = ingest.rstrip("/") + "/graphql" if local else PRODUCTION_API
        return cls(
            ingest_endpoint=ingest, api_endpoint=api, ingest_key=ingest_key, api_key=api_key, resource_uuid=resource
        )


def is_loopback(url: str, *, name: str) -> bool:
    """Tell whether an endpoint is this machine, i.e. a sandbox.

    Raises:
        FixConfiguration: if `url` is no plain http(s) URL, or is http to another machine.
    """
    # "@" and "\\" are where URL parsers disagree about the host; no endpoint needs them.
    if re.search(r"[@\\\s]", url):
        raise FixConfiguration(f"{name}: not a plain URL (no user names, spaces or backslashes)")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise FixConfiguration(f"{name}: {url!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise FixConfiguration(f"{name}: {url!r} is not a URL like {PRODUCTION_INGEST}")
    local = is_loopback_host(host)
    if not local and parts.scheme != "https":
        raise FixConfiguration(f"{name}: {url} would carry the key without encryption; use https")
    return local


def is_loopback_host(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _set(environment: Mapping[str, str], *names: str) -> str | None:
    return next((environment[n].strip() for n in names if environment.get(n, "").strip()), None)


def _key(environment: Mapping[str, str], pairs: tuple[tuple[str, str], ...]) -> Key | None:
    """The first pair of which anything is set; an id of one pair is never joined with a secret of another."""
    for id_name, secret_name in pairs:
        id, secret = _set(environment, id_name), _set(environment, secret_name)
        if id and secret:
            try:
                return Key.of(id, secret)
            except FixConfiguration as error:
                raise FixConfiguration(f"{id_name}, {secret_name}: {error}") from None
        if id or secret:
            given, missing = (id_name, secret_name) if id else (secret_name, id_name)
            raise FixConfiguration(f"{given} is set but {missing} is not: a key needs both")
    return None


def _uuid(value: str) -> str:
    try:
        return str(UUID(value))
    except ValueError:
        raise FixConfiguration(f"the Monte Carlo resource is named by its UUID; {value!r} is none") from None
