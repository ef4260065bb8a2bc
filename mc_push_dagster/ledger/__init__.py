"""What was pushed, when, and what came back: durable, shared by all processes that push to the same resource."""

from __future__ import annotations

from mc_push_dagster.ledger.catalog import LedgerCatalog
from mc_push_dagster.ledger.lease import Lease
from mc_push_dagster.ledger.records import (
    BatchRecord,
    BatchState,
    EdgeRecord,
    PushKind,
    PushRecord,
    PushState,
    Receipt,
    Sample,
    TableRecord,
    WindowRecord,
)
from mc_push_dagster.ledger.store import Ledger

__all__ = [
    "BatchRecord",
    "BatchState",
    "EdgeRecord",
    "Lease",
    "Ledger",
    "LedgerCatalog",
    "PushKind",
    "PushRecord",
    "PushState",
    "Receipt",
    "Sample",
    "TableRecord",
    "WindowRecord",
]
