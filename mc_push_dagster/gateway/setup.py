"""The GraphQL side, changing: what a push needs in Monte Carlo before it can begin.

Nothing here is tried again by itself. Where a call ends without an answer, what can be looked up is looked up, and the
error says what was found: a key that was made and whose secret was lost with the answer should be deleted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import SecretStr

from mc_push_dagster.errors import BrokenContract, MaybeDelivered, TryAgain
from mc_push_dagster.gateway import documents
from mc_push_dagster.gateway.client import GraphQLClient
from mc_push_dagster.gateway.connection import Key
from mc_push_dagster.gateway.objects import (
    NEVER,
    NodeRef,
    delete_lineage_node,
    delete_pushed_tables,
    put_lineage_edge,
    put_lineage_node,
)
from mc_push_dagster.gateway.parse import at, time_of

__all__ = [
    "INGESTION",
    "NEVER",
    "PUSH",
    "Capability",
    "CredentialsTest",
    "CustomIntegration",
    "IntegrationConnection",
    "KeyInfo",
    "NodeRef",
    "SparkBinary",
    "SparkHttp",
    "collect_over_spark",
    "create_integration_key",
    "create_or_update_custom_integration",
    "delete_integration_key",
    "delete_lineage_node",
    "delete_pushed_tables",
    "integration_keys",
    "put_lineage_edge",
    "put_lineage_node",
    "try_spark_credentials",
]

INGESTION = "Ingestion"
"""The scope of keys that may push (push-ingest-api, "Create an Ingestion key")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """An integration key as Monte Carlo lists it, without its secret."""

    id: str
    description: str | None
    scope: str | None
    created_at: datetime | None
    resources: tuple[str, ...]
    """UUIDs of the resources it is limited to; none means all."""


def integration_keys(
    client: GraphQLClient, *, scope: str | None = INGESTION, resource_uuid: str | None = None
) -> tuple[KeyInfo, ...]:
    """List integration keys, those of one scope and resource if given."""
    data = client.query(documents.INTEGRATION_KEYS, {"scope": scope, "resource": resource_uuid})
    return tuple(
        KeyInfo(
            id=at(k, "id"),
            description=k.get("description"),
            scope=k.get("scope"),
            created_at=time_of(k.get("createdTime")),
            resources=tuple(at(w, "uuid") for w in k.get("warehouses") or ()),
        )
        for k in data.get("getIntegrationKeys") or ()
    )


def create_integration_key(
    client: GraphQLClient, *, description: str, resource_uuids: Sequence[str] = (), scope: str = INGESTION
) -> Key:
    """Make an integration key and return it with its secret, which Monte Carlo shows this once.

    Without `resource_uuids` it may push to all resources.

    Raises:
        MaybeDelivered: if no answer came and a new key of this description is listed: its secret is lost, delete it.
        TryAgain: if no answer came and none is listed, or the call was not taken.
        FixAccess: if the API key may not make keys.
    """
    before = {k.id for k in integration_keys(client, scope=scope)}
    variables = {"description": description, "scope": scope, "resources": list(resource_uuids) or None}
    try:
        data = client.mutate(documents.CREATE_INTEGRATION_KEY, variables)
    except MaybeDelivered as error:
        listed = integration_keys(client, scope=scope)
        lost = [k.id for k in listed if k.id not in before and k.description == description]
        if lost:
            raise MaybeDelivered(
                f"the key {', '.join(lost)} was made, but the answer with its secret was lost: delete it, make another"
            ) from error
        raise TryAgain(f"no new key is listed, so none was made: {error}") from error
    made = at(data, "createIntegrationKey", "key")
    if not isinstance(made, Mapping) or not made.get("id") or not made.get("secret"):
        raise BrokenContract("Monte Carlo made a key but did not return its id and secret: delete it, make another")
    return Key.of(made["id"], made["secret"])


def delete_integration_key(client: GraphQLClient, key_id: str) -> bool:
    """Delete an integration key; True if it was there. Deleting twice does no harm."""
    data = client.mutate(documents.DELETE_INTEGRATION_KEY, {"id": key_id})
    return bool((data.get("deleteIntegrationKey") or {}).get("deleted"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkHttp:
    """A Spark Thrift server over HTTP, as Monte Carlo reaches it for monitors (IOMETE guide, "Step 1")."""

    url: str
    username: str
    password: SecretStr

    def variables(self) -> dict[str, Any]:
        password = self.password.get_secret_value()
        return {"http": {"url": self.url, "username": self.username, "password": password}}


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkBinary:
    """A Spark Thrift server over binary transport (IOMETE guide, "Binary Mode")."""

    host: str
    database: str
    username: str
    password: SecretStr
    port: int = 10000

    def variables(self) -> dict[str, Any]:
        password = self.password.get_secret_value()
        server = {"host": self.host, "port": self.port, "database": self.database}
        return {"binary": {**server, "username": self.username, "password": password}}


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsTest:
    """What Monte Carlo says of credentials; `key` stands for them in `create_or_update_custom_integration`."""

    success: bool
    key: str | None


def try_spark_credentials(
    client: GraphQLClient,
    server: SparkHttp | SparkBinary,
    *,
    deployment_uuid: str,
    skip_validation: bool = False,
    skip_permission_tests: bool = False,
) -> CredentialsTest:
    """Let Monte Carlo try a Spark server and keep the credentials under a temporary key.

    `deployment_uuid` names the data collector or agent that connects (the guide's `dcId`).
    """
    options = {
        "dcId": deployment_uuid,
        "skipValidation": skip_validation,
        "skipPermissionTests": skip_permission_tests,
    }
    data = client.mutate(
        documents.TEST_SPARK_CREDENTIALS,
        {**server.variables(), "options": options},
        secrets=(server.password.get_secret_value(),),
    )
    answer = data.get("testSparkCredentials") or {}
    return CredentialsTest(success=bool(answer.get("success")), key=answer.get("key"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """How Monte Carlo gets one capability of a custom integration: by push, by a connection, or as another one."""

    mode: Literal["PUSH", "COLLECT", "REUSE"]
    connection_type: str | None = None
    credentials_key: str | None = None
    deployment_uuid: str | None = None
    reuse: Literal["LINEAGE", "METADATA", "QUERY_LOGS"] | None = None

    def variables(self) -> dict[str, Any]:
        known = {
            "mode": self.mode,
            "connectionType": self.connection_type,
            "credentialsKey": self.credentials_key,
            "deploymentId": self.deployment_uuid,
            "reuseCapability": self.reuse,
        }
        return {name: value for name, value in known.items() if value is not None}


PUSH = Capability(mode="PUSH")


def collect_over_spark(*, credentials_key: str, deployment_uuid: str) -> Capability:
    """Monitors over a Spark connection whose credentials were tested (IOMETE guide, "Step 1")."""
    return Capability(
        mode="COLLECT", connection_type="spark", credentials_key=credentials_key, deployment_uuid=deployment_uuid
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegrationConnection:
    """A connection that Monte Carlo keeps for a capability."""

    capability: str
    uuid: str
    type: str | None
    name: str | None
    job_types: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomIntegration:
    """A custom integration as it stands after the call."""

    resource_uuid: str
    """What pushes name as `resource.uuid`, for query logs as well (the IOMETE guide names another id by mistake)."""
    connections: tuple[IntegrationConnection, ...]


def create_or_update_custom_integration(
    client: GraphQLClient,
    *,
    name: str | None = None,
    resource_uuid: str | None = None,
    metadata: Capability | None = PUSH,
    query_logs: Capability | None = PUSH,
    lineage: Capability | None = PUSH,
    monitors: Capability | None = None,
) -> CustomIntegration:
    """Create a custom integration (by `name`) or change one (by `resource_uuid`); None leaves a capability as it is.

    Raises:
        MaybeDelivered: if no answer came: look for the name among the warehouses before creating it again.
        ValueError: if neither name nor resource is given, or monitors are to be pushed (a push runs no queries).
    """
    if not name and not resource_uuid:
        raise ValueError("a new integration needs a name, an existing one its resource UUID")
    if monitors is not None and monitors.mode == "PUSH":
        raise ValueError("monitors cannot be pushed: they run queries, so they need a connection")
    chosen = {"metadata": metadata, "queryLogs": query_logs, "lineage": lineage, "monitors": monitors}
    variables = {part: how.variables() for part, how in chosen.items() if how is not None}
    data = client.mutate(documents.CUSTOM_INTEGRATION, {"name": name, "resource": resource_uuid, **variables})
    result = at(data, "createOrUpdateCustomIntegration", "result")
    return CustomIntegration(
        resource_uuid=at(result, "warehouseUuid"),
        connections=tuple(
            IntegrationConnection(
                capability=at(c, "capability"),
                uuid=at(c, "connection", "uuid"),
                type=c["connection"].get("type"),
                name=c["connection"].get("name"),
                job_types=tuple(c["connection"].get("jobTypes") or ()),
            )
            for c in at(result, "connections")
        ),
    )
