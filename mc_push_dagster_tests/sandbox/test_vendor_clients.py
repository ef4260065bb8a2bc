"""The vendor's own clients speak to the sandbox: pycarlo's two clients, and the `montecarlo` command."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mc_push_dagster.sandbox import Sandbox


def test_metadata_pushed_by_the_sdk_is_read_back_by_the_sdk(box: Sandbox, sdk: Any) -> None:
    m = sdk.models
    orders = m.RelationalAsset(
        type="TABLE",
        metadata=m.AssetMetadata(name="orders", database="db", schema="public", description="Customer orders"),
        fields=[m.AssetField(name="id", type="INTEGER"), m.AssetField(name="amount", type="DECIMAL(10,2)")],
        volume=m.AssetVolume(row_count=5, byte_count=0),
        freshness=m.AssetFreshness(last_update_time="2026-02-28T12:00:00Z"),
        tags=[m.Tag(key="team", value="data"), m.Tag(key="lone")],
    )
    service = sdk.service(box)
    answer = service.send_metadata(resource_uuid=box.resource_uuid, resource_type="snowflake", events=[orders])
    invocation = service.extract_invocation_id(answer)

    query = sdk.core.Query()
    query.get_table(full_table_id="db:public.orders", dw_id=box.resource_uuid).__fields__(
        "mcon", "full_table_id", "table_type", "description", "ingest_invocation_id", "last_observed"
    )
    table = sdk.client(box)(query).get_table
    assert table.ingest_invocation_id == invocation
    assert (table.full_table_id, table.table_type, table.description) == (
        "db:public.orders",
        "TABLE",
        "Customer orders",
    )

    document = """query($m: String) { getTable(mcon: $m) { versions(first: 1) { edges { node {
        fields(first: 500) { edges { node { name fieldType } } } } } } } }"""
    found = sdk.client(box)(document, variables={"m": table.mcon}).get_table
    fields = found.versions.edges[0].node.fields.edges
    assert [(f.node.name, f.node.field_type) for f in fields] == [("id", "INTEGER"), ("amount", "DECIMAL(10,2)")]


def test_lineage_and_query_logs_pushed_by_the_sdk_are_accepted(box: Sandbox, sdk: Any) -> None:
    m = sdk.models
    service = sdk.service(box)
    assets = [
        m.RelationalAsset(type="TABLE", metadata=m.AssetMetadata(name=n, database="db", schema="public")) for n in "ab"
    ]
    service.send_metadata(box.resource_uuid, "snowflake", assets)
    event = m.LineageEvent(
        destination=m.LineageAssetRef("TABLE", "b", "db", "public", asset_id="d"),
        sources=[m.LineageAssetRef("TABLE", "a", "db", "public", asset_id="s")],
        fields=[m.ColumnLineageField("y", [m.ColumnLineageSourceField("s", "x")])],
    )
    service.send_lineage(box.resource_uuid, "snowflake", [event])
    at = datetime(2026, 2, 28, tzinfo=UTC)
    service.send_query_logs(box.resource_uuid, "snowflake", [m.QueryLogEntry(at, at, "select 1", error_code=7)])
    assert [r.status for r in box.requests()] == [202, 202, 202]
    assert [r.label for r in box.requests()] == ["METADATA", "COLUMN_LINEAGE", "QUERY_LOG"]


def test_the_sdk_sees_each_refusal_with_its_status(box: Sandbox, sdk: Any) -> None:
    from pycarlo.features.ingestion.exceptions import IngestionError

    m = sdk.models
    other = box.add_warehouse("other")
    narrow = box.add_key(warehouses=[other])
    good = [m.RelationalAsset(type="TABLE", metadata=m.AssetMetadata(name="a", database="db", schema="public"))]
    native = [m.RelationalAsset(type="BASE TABLE", metadata=good[0].metadata)]
    for key, events, status in ((narrow, good, 403), (box.api_key, good, 401), (box.ingest_key, native, 400)):
        with pytest.raises(IngestionError) as caught:
            sdk.service(box, key).send_metadata(box.resource_uuid, "snowflake", events)
        assert caught.value.__cause__.response.status_code == status  # type: ignore[union-attr]


def test_the_montecarlo_command_makes_lists_and_deletes_an_ingestion_key(box: Sandbox, tmp_path: Path) -> None:
    config = tmp_path / "mcd"
    config.mkdir()
    (config / "profiles.ini").write_text(
        f"[default]\nmcd_id = {box.api_key.id}\nmcd_token = {box.api_key.secret}\n", encoding="utf-8"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MCD_", "MC_"))}
    environment |= {"MCD_API_ENDPOINT": box.api_endpoint, "HOME": str(tmp_path), "PYTHONWARNINGS": "ignore"}

    def montecarlo(*arguments: str) -> str:
        command = [str(Path(sys.executable).with_name("montecarlo")), "--config-path", str(config), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    made = montecarlo("integrations", "create-key", "--scope", "Ingestion", "--description", "From the command line")
    identity = re.search(r"Key id: (\S+)", made)
    secret = re.search(r"Key secret: (\S+)", made)
    assert identity is not None
    assert secret is not None
    assert len(secret[1]) == 56
    assert "From the command line" in montecarlo("integrations", "list-keys")

    import requests

    body = {
        "event_type": "METADATA",
        "resource": {"uuid": box.resource_uuid, "resource_type": "snowflake"},
        "events": [
            {"relational_asset": {"type": "TABLE", "metadata": {"name": "a", "database": "db", "schema": "public"}}}
        ],
    }
    headers = {"x-mcd-id": identity[1], "x-mcd-token": secret[1]}
    where = f"{box.ingest_endpoint}/ingest/v1/metadata"
    assert requests.post(where, data=json.dumps(body), headers=headers, timeout=10).status_code == 202
    assert "deleted" in montecarlo("integrations", "delete-key", "--key-id", identity[1])
    assert requests.post(where, data=json.dumps(body), headers=headers, timeout=10).status_code == 401
