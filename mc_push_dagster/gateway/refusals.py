"""From an HTTP answer that is no success to the error that says what to do next; the same for REST and GraphQL."""

from __future__ import annotations

import email.utils
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from mc_push_dagster.errors import (
    FixAccess,
    FixConfiguration,
    MaybeDelivered,
    PushError,
    Rejected,
    SplitBatch,
    TryAgain,
)
from mc_push_dagster.gateway.transport import Reply

_SHOWN = 300
"""Characters of the gateway's own words that an error message shows."""


def json_of(reply: Reply) -> Any:
    """Return the answer's JSON, or None where it is not JSON, is empty, or was cut."""
    if reply.truncated or not reply.body:
        return None
    try:
        return json.loads(reply.body)
    except ValueError:
        return None


def mask(reply: Reply, secrets: Iterable[str]) -> Reply:
    """Return the answer without our secrets, should it echo them."""
    body = reply.body
    for secret in filter(None, secrets):
        for form in (secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
            body = body.replace(form.encode(), b"***")
    return replace(reply, body=body)


def refusal(reply: Reply, *, place: str, now: datetime) -> PushError | None:
    """Return the error for an answer, or None for a 2xx.

    Source: push-ingest-api, "Error codes", "Troubleshooting"; 408 and 429 by airflow-mcd, which expects them of this
    gateway. A 504 says that somebody behind the gateway may still be at work on the request.
    """
    status = reply.status
    if 200 <= status < 300:
        return None
    said = f"{place} answered {status}{_words(reply)}"
    if status in (408, 425, 429) or status >= 500:
        after = _retry_after(reply.headers.get("retry-after"), now)
        return MaybeDelivered(said, retry_after=after) if status == 504 else TryAgain(said, retry_after=after)
    if 300 <= status < 400:
        return FixConfiguration(f"{place} redirects ({status}); keys are never sent on: check the endpoint")
    if status in (401, 403):
        return FixAccess(f"{said}: {_ACCESS[status]}")
    if status == 413:
        return SplitBatch(said)
    if status in (404, 405, 407, 410):
        return FixConfiguration(f"{said}: nothing takes requests there; check the endpoint")
    answer = json_of(reply)
    details = answer.get("details", answer) if isinstance(answer, dict) else answer
    return Rejected(said, details=details)


_ACCESS = {
    401: "the key's id or secret is wrong, or it is of the wrong kind (an ingestion key is no API key nor the reverse)",
    403: "the key may not do this for this resource; use a key that covers it, or widen this one",
}


def _words(reply: Reply) -> str:
    """What the gateway says in its own words, in one line."""
    answer = json_of(reply)
    if not isinstance(answer, dict):
        return ""
    message = answer.get("message") or answer.get("error") or _first_error(answer)
    if not isinstance(message, str):
        return ""
    line = " ".join(message.split())
    return f" ({line[:_SHOWN]}{'...' if len(line) > _SHOWN else ''})" if line else ""


def _first_error(answer: dict[str, Any]) -> Any:
    errors = answer.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    return first.get("message") if isinstance(first, dict) else None


def _retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait, from either form of the header (RFC 9110, 10.2.3); None if it is absent or unreadable."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
