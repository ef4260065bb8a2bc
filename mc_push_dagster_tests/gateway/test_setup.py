"""Setting Monte Carlo up, against the sandbox: what is made, what is shown, what happens when an answer is lost."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from mc_push_dagster.errors import BrokenContract, FixAccess, MaybeDelivered, Rejected, TryAgain
from mc_push_dagster.gateway import objects, setup
from mc_push_dagster.gateway.client import GraphQLClient
from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster.gateway.graphql import GraphQLReader
from mc_push_dagster.gateway.ingest import IngestGateway
from mc_push_dagster.model import Feed
from mc_push_dagster.sandbox import Sandbox, serve
from mc_push_dagster_tests.gateway.raw_server import RawServer, replies, sandbox_connection

START = datetime(2026, 3, 1, 0, 10, tzinfo=UTC)
COLLECTOR = "c0ffee00-1111-4222-8333-444455556666"


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with serve(clock=lambda: START) as made:
        yield made


@pytest.fixture
def client(box: Sandbox) -> Iterator[GraphQLClient]:
    with GraphQLClient(Connection.to_sandbox(box), timeout_seconds=2) as made:
        yield made


@pytest.fixture
def spark() -> Iterator[setup.SparkHttp]:
    """Something that listens where a Spark Thrift server would."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/cliservice"
        yield setup.SparkHttp(url=url, username="monte_carlo", password=SecretStr("spark-pa55word"))


def calls_of(box: Sandbox, name: str) -> int:
    return sum(name.encode() in (r.body or b"") for r in box.requests("graphql"))


def test_a_new_key_pushes_to_its_resource_and_to_no_other(box: Sandbox, client: GraphQLClient) -> None:
    other = box.add_warehouse("other")
    key = setup.create_integration_key(client, description="hourly push", resource_uuids=[box.resource_uuid])
    (listed,) = (k for k in setup.integration_keys(client) if k.id == key.id)
    assert (listed.description, listed.scope, listed.resources) == ("hourly push", "Ingestion", (box.resource_uuid,))
    connection = Connection(ingest_endpoint=box.ingest_endpoint, api_endpoint=box.api_endpoint, ingest_key=key)

    def body(resource: str) -> bytes:
        asset = {"type": "TABLE", "metadata": {"name": "n", "database": "d", "schema": "s"}}
        return json.dumps(
            {
                "event_type": "METADATA",
                "resource": {"uuid": resource, "resource_type": "snowflake"},
                "events": [{"relational_asset": asset}],
            }
        ).encode()

    with IngestGateway(connection) as gateway:
        assert gateway.send(Feed.METADATA, body(box.resource_uuid))
        with pytest.raises(FixAccess, match="403"):
            gateway.send(Feed.METADATA, body(other))
        assert setup.delete_integration_key(client, key.id)
        with pytest.raises(FixAccess, match="401"):
            gateway.send(Feed.METADATA, body(box.resource_uuid))


def test_the_secret_of_a_new_key_shows_in_no_text_form(client: GraphQLClient) -> None:
    key = setup.create_integration_key(client, description="k")
    secret = key.secret.get_secret_value()
    assert len(secret) > 10
    assert secret not in f"{key!r} {key} {setup.integration_keys(client)}"


def test_a_key_whose_secret_was_lost_with_the_answer_is_named_and_not_made_again(
    box: Sandbox, client: GraphQLClient
) -> None:
    box.add_fault(kind="close", path="graphql", stored=True, containing="mutation CreateIntegrationKey")
    with pytest.raises(MaybeDelivered, match="delete it") as caught:
        setup.create_integration_key(client, description="hourly push")
    (made,) = (k for k in setup.integration_keys(client) if k.description == "hourly push")
    assert made.id in str(caught.value)
    assert calls_of(box, "mutation CreateIntegrationKey") == 1


@pytest.mark.parametrize("fault", [{"kind": "close"}, {"kind": "status", "status": 503}, {"kind": "html"}])
def test_a_key_that_was_not_made_may_be_tried_again(box: Sandbox, client: GraphQLClient, fault: dict) -> None:
    box.add_fault(path="graphql", containing="mutation CreateIntegrationKey", **fault)
    with pytest.raises(TryAgain, match="none was made") as caught:
        setup.create_integration_key(client, description="hourly push")
    assert not isinstance(caught.value, MaybeDelivered)
    assert calls_of(box, "mutation CreateIntegrationKey") == 1
    assert setup.create_integration_key(client, description="hourly push").id


def test_an_answer_without_the_secret_says_what_to_do(server: RawServer) -> None:
    listed = replies(200, b'{"data": {"getIntegrationKeys": []}}')
    made = replies(200, b'{"data": {"createIntegrationKey": {"key": {"id": "sandbox-1", "secret": null}}}}')
    server.then(listed, made)
    with GraphQLClient(sandbox_connection(server.url)) as client, pytest.raises(BrokenContract, match="delete it"):
        setup.create_integration_key(client, description="k")


def test_the_guides_integration_is_made_and_changed(
    box: Sandbox, client: GraphQLClient, spark: setup.SparkHttp
) -> None:
    tested = setup.try_spark_credentials(client, spark, deployment_uuid=COLLECTOR)
    assert tested.success
    assert tested.key is not None
    monitors = setup.collect_over_spark(credentials_key=tested.key, deployment_uuid=COLLECTOR)
    made = setup.create_or_update_custom_integration(client, name="IOMETE Production", monitors=monitors)
    assert [(c.capability, c.type) for c in made.connections] == [("monitors", "SPARK")]
    (listed,) = (w for w in GraphQLReader(Connection.to_sandbox(box)).warehouses() if w.uuid == made.resource_uuid)
    assert (listed.name, listed.connection_type) == ("IOMETE Production", "CUSTOM_INTEGRATION")
    again = setup.create_or_update_custom_integration(client, resource_uuid=made.resource_uuid, name="IOMETE")
    assert again.resource_uuid == made.resource_uuid


def test_binary_credentials_are_tested_too(client: GraphQLClient, spark: setup.SparkHttp) -> None:
    port = int(spark.url.rsplit(":", 1)[1].split("/")[0])
    binary = setup.SparkBinary(
        host="127.0.0.1", port=port, database="default", username="u", password=SecretStr("spark-pa55word")
    )
    assert setup.try_spark_credentials(client, binary, deployment_uuid=COLLECTOR).success


def test_wrong_credentials_are_an_error_without_the_password(client: GraphQLClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    nobody = setup.SparkHttp(url=f"http://127.0.0.1:{port}/x", username="u", password=SecretStr("spark-pa55word"))
    with pytest.raises(Rejected) as caught:
        setup.try_spark_credentials(client, nobody, deployment_uuid=COLLECTOR)
    assert "spark-pa55word" not in f"{caught.value} {caught.value.details} {nobody!r}"


def test_an_integration_needs_a_name_or_a_resource_and_cannot_push_monitors(client: GraphQLClient) -> None:
    with pytest.raises(ValueError, match="name"):
        setup.create_or_update_custom_integration(client)
    with pytest.raises(ValueError, match="monitors"):
        setup.create_or_update_custom_integration(client, name="n", monitors=setup.PUSH)


def test_custom_nodes_and_edges_stay_unless_told_otherwise_and_can_be_deleted(
    box: Sandbox, client: GraphQLClient
) -> None:
    table = objects.NodeRef(object_type="table", object_id="db:public.t", resource_uuid=box.resource_uuid)
    report = objects.NodeRef(object_type="report", object_id="r1", resource_uuid=box.resource_uuid)
    objects.put_lineage_node(client, table)
    node = objects.put_lineage_node(client, report, name="Revenue", properties={"owner": "anna"})
    assert (node.display_name, node.is_custom, node.expires_at) == ("Revenue", True, objects.NEVER)
    edge = objects.put_lineage_edge(client, table, report, expires_at=START + timedelta(days=1))
    assert (edge.destination_mcon, edge.expires_at) == (node.mcon, START + timedelta(days=1))
    assert objects.delete_lineage_node(client, node.mcon).nodes == 1


def test_more_tables_than_one_call_takes_are_deleted_in_several(box: Sandbox, client: GraphQLClient) -> None:
    assets = [
        {"relational_asset": {"type": "TABLE", "metadata": {"name": f"t{i}", "database": "d", "schema": "s"}}}
        for i in range(1100)
    ]
    resource = {"uuid": box.resource_uuid, "resource_type": "snowflake"}
    body = json.dumps({"event_type": "METADATA", "resource": resource, "events": assets}).encode()
    connection = Connection.to_sandbox(box)
    with IngestGateway(connection) as gateway, GraphQLReader(connection) as reader:
        gateway.send(Feed.METADATA, body)
        mcons = [t.mcon for t in reader.tables(box.resource_uuid)]
        assert objects.delete_pushed_tables(client, mcons) == 1100
        assert calls_of(box, "mutation DeletePushedTables") == 2
        assert list(reader.tables(box.resource_uuid)) == []
        assert len(list(reader.tables(box.resource_uuid, deleted=None))) == 1100


def test_a_deletion_that_does_not_succeed_is_told(server: RawServer) -> None:
    server.then(replies(200, b'{"data": {"deletePushIngestedTables": {"success": false, "deletedCount": 0}}}'))
    with GraphQLClient(sandbox_connection(server.url)) as client, pytest.raises(Rejected, match="refused"):
        objects.delete_pushed_tables(client, ["MCON++a++b++table++d:s.t"])


def test_deleting_nothing_asks_nobody(server: RawServer) -> None:
    with GraphQLClient(sandbox_connection(server.url)) as client:
        assert objects.delete_pushed_tables(client, []) == 0
    assert server.connections == 0
