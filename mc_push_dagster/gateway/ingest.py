"""The REST side: one body, one attempt, one invocation id - or an error that says what to do.

It goes through pycarlo's `IngestionService`, whose paths and success rules are the vendor's, over a `Client` of ours:
pycarlo's own tries a wrong key nine times in 33 seconds. Only public names of pycarlo are used.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, Self

import orjson

from mc_push_dagster.errors import BrokenContract, EndpointMismatch, MaybeDelivered
from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster.gateway.pycarlo_import import without_schema
from mc_push_dagster.gateway.refusals import json_of, mask, refusal
from mc_push_dagster.gateway.transport import Transport
from mc_push_dagster.model import Feed

_SENDERS = {
    Feed.METADATA: "send_metadata_raw",
    Feed.LINEAGE: "send_lineage_raw",
    Feed.COLUMN_LINEAGE: "send_lineage_raw",
    Feed.QUERY_LOG: "send_query_logs_raw",
}


class SerialisedBody(dict[str, Any]):
    """A payload that is JSON already: pycarlo's `send_*_raw` hand it on untouched, our client sends its bytes."""

    def __init__(self, raw: bytes) -> None:
        super().__init__()
        self.raw = raw


class IngestGateway:
    """Sends bodies to the push ingest API; safe to share by threads. pycarlo is imported at the first send.

    Raises:
        FixConfiguration: if the connection has no ingestion key.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        timeout_seconds: float = 60.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        connection.need_ingest_key()
        self._connection = connection
        self._transport = Transport(connection.ingest_endpoint, timeout_seconds=timeout_seconds)
        self._now = now
        self._lock = threading.Lock()
        self._service: Any = None

    def send(self, feed: Feed, body: bytes) -> str:
        """Send one body once and return the invocation id.

        Raises:
            FixAccess: 401, 403.
            Rejected: 400 and other refusals of the content, with the gateway's details.
            SplitBatch: 413.
            TryAgain: 408, 429, 5xx, or no connection; the body was not taken.
            MaybeDelivered: no usable answer after the body was sent, be it a 2xx without an invocation id.
            FixConfiguration: a redirect, a wrong endpoint, or an untrusted certificate.
        """
        service = self._ready()
        answer = getattr(service, _SENDERS[feed])(SerialisedBody(body))
        invocation_id = service.extract_invocation_id(answer)
        if not invocation_id:
            raise MaybeDelivered(f"{self._connection.ingest_endpoint} accepted a body but gave no invocation id for it")
        return invocation_id

    def _ready(self) -> Any:
        with self._lock:
            if self._service is None:
                self._service = _classes().service(self._connection, self._transport, self._now)
            return self._service

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"IngestGateway({self._connection.ingest_endpoint})"


class _Classes:
    """pycarlo's classes and ours that derive from them."""

    def __init__(self) -> None:
        with without_schema():
            from pycarlo.common import settings
            from pycarlo.core import Client, Session
            from pycarlo.features.ingestion import IngestionService

        class ExplicitSession(Session):
            """A session that is what it is told: its base would let environment variables and a profile file win."""

            def __post_init__(self, mcd_id: str | None = None, mcd_token: str | None = None, *_: Any) -> None:
                self.id, self.token, self.user_id = mcd_id or "", mcd_token or "", None
                # The form that the vendor's support knows.
                self.session_name = f"python-sdk-{_version('pycarlo')}-{uuid.uuid4()}"

            def __repr__(self) -> str:
                return f"ExplicitSession({self.endpoint})"

        class PooledClient(Client):
            """A client whose REST requests are one attempt each over the transport of ours."""

            def __init__(
                self, session: Session, transport: Transport, secret: str, now: Callable[[], datetime]
            ) -> None:
                super().__init__(session)
                self._transport = transport
                self._secret = secret
                self._now = now

            def make_request(
                self, path: str, method: str = "POST", body: dict[str, Any] | None = None, *_: Any, **__: Any
            ) -> Any:
                """Do one exchange; retries and timeouts of the base are the caller's and the transport's business."""
                if method != "POST":
                    raise BrokenContract(f"the ingest API is POST only; pycarlo asked for {method}")
                raw = body.raw if isinstance(body, SerialisedBody) else orjson.dumps(body)
                headers = {
                    settings.DEFAULT_MCD_API_ID_HEADER: self.session_id,
                    settings.DEFAULT_MCD_API_TOKEN_HEADER: self._secret,
                    settings.DEFAULT_MCD_SESSION_ID: self.session_name,
                    settings.DEFAULT_MCD_TRACE_ID: str(uuid.uuid4()),
                    settings.HEADER_MCD_TELEMETRY_REASON: settings.RequestReason.SERVICE.value,
                    "Content-Type": "application/json",
                }
                place = self.session_endpoint.rstrip("/") + path
                reply = mask(self._transport.post(place, raw, headers), (self._secret,))
                error = refusal(reply, place=place, now=self._now())
                if error is not None:
                    raise error
                return json_of(reply)

        self._session, self._client, self._service = ExplicitSession, PooledClient, IngestionService

    def service(self, connection: Connection, transport: Transport, now: Callable[[], datetime]) -> Any:
        """Build the service and make sure that it will talk to whom the connection names, as whom it names.

        Raises:
            EndpointMismatch: if pycarlo made something else of it.
        """
        key = connection.need_ingest_key()
        secret = key.secret.get_secret_value()
        session = self._session(mcd_id=key.id, mcd_token=secret, endpoint=connection.ingest_endpoint, scope="Ingestion")
        client = self._client(session, transport, secret, now)
        if (client.session_endpoint, client.session_id) != (connection.ingest_endpoint, key.id):
            raise EndpointMismatch(
                f"pycarlo would send to {client.session_endpoint}, not {connection.ingest_endpoint}; nothing was sent"
            )
        return self._service(mc_client=client)


@cache
def _classes() -> _Classes:
    return _Classes()


def _version(distribution: str) -> str:
    from importlib.metadata import version

    return version(distribution)
