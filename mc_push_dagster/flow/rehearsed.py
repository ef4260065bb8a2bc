"""Stand-ins for a dry run: nothing is written, nothing is sent, everything is counted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

from mc_push_dagster.flow.outbox import BodyLost, Outbox
from mc_push_dagster.model import Feed


class RehearsedOutbox(Outbox):
    """Keeps nothing but digests."""

    def __init__(self) -> None:
        self.url = "nowhere (dry run)"

    @cached_property
    def identity(self) -> str:
        return "dry run"

    def put(self, push_id: str, body: bytes) -> str:
        return hashlib.sha256(body).hexdigest()

    def get(self, push_id: str, sha256: str) -> bytes:
        raise BodyLost("a dry run keeps no bodies")

    def write_manifest(self, push_id: str, document: Mapping[str, Any]) -> str:
        return ""

    def tidy(self, now: datetime) -> int:
        return 0

    def check(self) -> str:
        return self.url


class RehearsedGateway:
    """Takes everything and sends nothing."""

    def send(self, feed: Feed, body: bytes) -> str:
        return "dry run"
