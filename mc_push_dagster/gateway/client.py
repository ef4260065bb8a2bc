"""One GraphQL request: queries are tried again where that may help, mutations never.

pycarlo's own client is not used for GraphQL: it answers a page of HTML with None, gives up on a 429 at once, repeats
mutations on a 5xx eight times (a `createIntegrationKey` among them, whose lost secrets nobody can recover), opens a
connection per request, and sends loopback requests to `HTTP_PROXY`.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Self

import orjson

from mc_push_dagster.errors import BrokenContract, FixAccess, MaybeDelivered, PushError, Rejected, TryAgain
from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster.gateway.refusals import json_of, mask, refusal
from mc_push_dagster.gateway.transport import Reply, Transport
from mc_push_dagster.version import __version__

_LIMIT = 64 << 20
"""Bytes of an answer; a page of 500 tables has about 200 kB."""
_ACCESS_CODES = {"UNAUTHENTICATED", "UNAUTHORIZED", "FORBIDDEN", "PERMISSION_DENIED"}
_PASSING_CODES = {"REQUEST_TIMEOUT", "THROTTLED", "RATE_LIMITED"}


class _NoJson(TryAgain):
    """A success that is no GraphQL answer: a proxy's page perhaps, which may be gone the next time."""


class GraphQLClient:
    """Speaks to the GraphQL API with the connection's API key; safe to share by threads.

    A query is tried up to `attempts` times within `patience_seconds`, with exponential backoff and full jitter, or as
    long as the server asks (`Retry-After`).

    Raises:
        FixConfiguration: if the connection has no API key.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        timeout_seconds: float = 30.0,
        attempts: int = 5,
        patience_seconds: float = 60.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._key = connection.need_api_key()
        self._endpoint = connection.api_endpoint
        self._transport = Transport(self._endpoint, timeout_seconds=timeout_seconds)
        self._attempts = attempts
        self._patience = patience_seconds
        self._now, self._sleep, self._jitter = now, sleep, jitter
        self._session = f"mc-push-dagster-{__version__}-{uuid.uuid4()}"

    def query(self, document: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the `data` of a query.

        Raises:
            FixAccess: the key may not read this.
            Rejected: the server refuses the query; carries its errors.
            TryAgain: it did not answer in all attempts.
            BrokenContract: it answers something that is not GraphQL.
        """
        waited = 0.0
        for attempt in range(1, self._attempts + 1):
            try:
                return self._exchange(document, variables or {}, ())
            except TryAgain as error:
                pause = error.retry_after
                if pause is None:
                    pause = self._jitter() * min(8.0, 0.5 * 2**attempt)
                if attempt == self._attempts or waited + pause > self._patience:
                    if isinstance(error, _NoJson):
                        raise BrokenContract(f"{error}; check the endpoint") from error
                    raise
            self._sleep(pause)
            waited += pause
        raise AssertionError("unreachable: the last attempt returns or raises")

    def mutate(
        self, document: str, variables: Mapping[str, Any] | None = None, *, secrets: Iterable[str] = ()
    ) -> dict[str, Any]:
        """Send a mutation once and return its `data`; `secrets` among the variables are masked in errors.

        Raises:
            MaybeDelivered: no telling whether it was done (no answer, a 5xx, no GraphQL): look before trying again.
            TryAgain: it was not done (429, no connection) and may be sent again.
            FixAccess: the key may not do this.
            Rejected: the server refuses it; carries its errors.
        """
        return self._exchange(document, variables or {}, tuple(secrets), mutation=True)

    def _exchange(
        self, document: str, variables: Mapping[str, Any], secrets: tuple[str, ...], *, mutation: bool = False
    ) -> dict[str, Any]:
        token = self._key.secret.get_secret_value()
        headers = {
            "x-mcd-id": self._key.id,
            "x-mcd-token": token,
            "x-mcd-session-id": self._session,
            "x-mcd-trace-id": str(uuid.uuid4()),
            "x-mcd-telemetry-reason": "service",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
        }
        body = orjson.dumps({"query": document, "variables": dict(variables)})
        reply = mask(self._transport.post(self._endpoint, body, headers, limit=_LIMIT), (token, *secrets))
        error = refusal(reply, place=self._endpoint, now=self._now()) or self._graphql_error(reply)
        if error is None:
            return json_of(reply)["data"]
        if mutation and isinstance(error, TryAgain) and (reply.status >= 500 or reply.status < 300):
            raise MaybeDelivered(f"{error}; it may have been done all the same", retry_after=error.retry_after)
        raise error

    def _graphql_error(self, reply: Reply) -> PushError | None:
        """The error in a 2xx, None if there is data and no error; data beside errors is not trusted."""
        answer = json_of(reply)
        if not isinstance(answer, dict):
            kind = reply.headers.get("content-type", "no content type")
            return _NoJson(f"{self._endpoint} answered {reply.status} with {kind} instead of a GraphQL answer")
        errors = answer.get("errors")
        if errors:
            return self._of_errors(errors if isinstance(errors, list) else [errors])
        if not isinstance(answer.get("data"), dict):
            return _NoJson(f"{self._endpoint} answered {reply.status} without data")
        return None

    def _of_errors(self, errors: list[Any]) -> PushError:
        named = [e if isinstance(e, dict) else {"message": str(e)} for e in errors]
        codes = {_code(e) for e in named}
        said = "; ".join(" ".join(str(e.get("message", "no message")).split())[:200] for e in named[:3])
        if codes & _PASSING_CODES:
            return TryAgain(f"{self._endpoint}: {said}")
        if codes & _ACCESS_CODES:
            return FixAccess(f"{self._endpoint}: {said}: the API key {self._key.id} lacks the right for this")
        return Rejected(f"{self._endpoint}: {said}", details=errors)

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"GraphQLClient({self._endpoint})"


def _code(error: Mapping[str, Any]) -> str | None:
    """The code of a GraphQL error, in either place where the SDK looks for it (pycarlo `Endpoint._get_error_code`)."""
    extensions = error.get("extensions")
    code = extensions.get("code") if isinstance(extensions, dict) else error.get("code")
    return code if isinstance(code, str) else None
