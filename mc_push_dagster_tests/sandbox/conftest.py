"""A sandbox of its own for each test, with a clock that stands still, and the vendor's own clients pointed at it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from mc_push_dagster.sandbox import IntegrationKey, Sandbox, serve

START = datetime(2026, 3, 1, 0, 10, tzinfo=UTC)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Sandbox]:
    with serve(tmp_path / "sandbox", clock=lambda: START) as box:
        yield box


class Wire:
    """Plain HTTP to a sandbox, as a client without an SDK speaks it."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.resource = {"uuid": box.resource_uuid, "resource_type": "snowflake"}

    def post(self, path: str, body: Any, *, key: IntegrationKey | None = None, **options: Any) -> requests.Response:
        key = key or self.box.ingest_key
        headers = {"x-mcd-id": key.id, "x-mcd-token": key.secret} | options.pop("headers", {})
        where = f"{self.box.url}/ingest/v1/{path}"
        if isinstance(body, bytes):
            return requests.post(where, data=body, headers=headers, timeout=10, **options)
        return requests.post(where, json=body, headers=headers, timeout=10, **options)

    def metadata(self, *assets: dict[str, Any], **options: Any) -> requests.Response:
        events = [{"relational_asset": a} for a in assets]
        return self.post("metadata", {"event_type": "METADATA", "resource": self.resource, "events": events}, **options)

    def lineage(self, *events: dict[str, Any], column: bool = False, **options: Any) -> requests.Response:
        kind = "COLUMN_LINEAGE" if column else "LINEAGE"
        return self.post("lineage", {"event_type": kind, "resource": self.resource, "events": list(events)}, **options)

    def query_logs(self, *events: dict[str, Any], log_type: str = "snowflake", **options: Any) -> requests.Response:
        resource = {"uuid": self.box.resource_uuid, "log_type": log_type}
        body = {"event_type": "QUERY_LOG", "resource": resource, "events": list(events)}
        return self.post("querylogs", body, **options)

    def graphql(self, query: str, key: IntegrationKey | None = None, **variables: Any) -> dict[str, Any]:
        key = key or self.box.api_key
        answer = requests.post(
            self.box.api_endpoint,
            json={"query": query, "variables": variables},
            headers={"x-mcd-id": key.id, "x-mcd-token": key.secret},
            timeout=10,
        )
        answer.raise_for_status()
        return answer.json()

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of a query that must not fail."""
        answer = self.graphql(query, **variables)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def mcon(self, name: str, kind: str = "table") -> str:
        return f"MCON++{self.box.world.account.uuid}++{self.box.resource_uuid}++{kind}++db:public.{name}"


@pytest.fixture
def wire(box: Sandbox) -> Wire:
    return Wire(box)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """One sandbox for tests that only look at the answer to what they send."""
    with serve(tmp_path_factory.mktemp("shared"), clock=lambda: START) as box:
        yield Wire(box)


def asset(name: str, kind: str = "TABLE", **blocks: Any) -> dict[str, Any]:
    return {"type": kind, "metadata": {"name": name, "database": "db", "schema": "public"}, **blocks}


def ref(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "TABLE", "name": name, "database": "db", "schema": "public", **more}


def query(
    text: str, at: str = "2026-02-28T23:00:00Z", end: str = "2026-02-28T23:00:01Z", **more: Any
) -> dict[str, Any]:
    return {"start_time": at, "end_time": end, "query_text": text, **more}


@pytest.fixture
def builders() -> dict[str, Any]:
    return {"asset": asset, "ref": ref, "query": query}


@pytest.fixture(scope="session")
def sdk() -> Any:
    """pycarlo, imported once: its schema prints a warning for each enum default that is not among the enum's values."""
    noisy = logging.getLogger("pycarlo.lib.types")
    noisy.setLevel(logging.ERROR)
    import pycarlo.core
    import pycarlo.features.ingestion as ingestion
    from pycarlo.features.ingestion import models

    class Once(pycarlo.core.Client):
        """The SDK's client without its nine attempts."""

        def make_request(self, *args: Any, **options: Any) -> Any:
            return super().make_request(*args, **options | {"should_retry": lambda _error: False})

    class Sdk:
        pass

    Sdk.models = models  # type: ignore[attr-defined]
    Sdk.core = pycarlo.core  # type: ignore[attr-defined]

    def service(box: Sandbox, key: IntegrationKey | None = None) -> Any:
        key = key or box.ingest_key
        session = pycarlo.core.Session(
            mcd_id=key.id, mcd_token=key.secret, scope="Ingestion", endpoint=box.ingest_endpoint
        )
        return ingestion.IngestionService(mc_client=Once(session=session))

    def client(box: Sandbox) -> Any:
        session = pycarlo.core.Session(mcd_id=box.api_key.id, mcd_token=box.api_key.secret, endpoint=box.api_endpoint)
        return Once(session=session)

    Sdk.service = staticmethod(service)  # type: ignore[attr-defined]
    Sdk.client = staticmethod(client)  # type: ignore[attr-defined]
    return Sdk
