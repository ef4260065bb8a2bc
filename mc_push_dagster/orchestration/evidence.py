"""What the asset checks find, from the ledger and from Monte Carlo itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mc_push_dagster.assembly import Station


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The answer to one question; `words` is one sentence, `facts` are shown as metadata."""

    passed: bool
    words: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    warn: bool = False
    """A failure that a person may look at later."""


def receipts_complete(station: Station, *, now: datetime) -> Finding:
    raise NotImplementedError


def verified(station: Station, *, now: datetime) -> Finding:
    raise NotImplementedError


def hourly_cadence(station: Station, *, now: datetime) -> Finding:
    raise NotImplementedError


def schema_drift(station: Station, *, now: datetime) -> Finding:
    raise NotImplementedError
