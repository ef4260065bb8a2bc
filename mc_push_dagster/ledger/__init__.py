"""What was pushed, when, and what came back: durable, shared by all processes that push to the same resource."""

from __future__ import annotations

from mc_push_dagster.ledger.catalog import LedgerCatalog
from mc_push_dagster.ledger.due import Due
from mc_push_dagster.ledger.graph import EdgeKey
from mc_push_dagster.ledger.lease import Lease
from mc_push_dagster.ledger.records import (
    BatchRecord,
    BatchState,
    Claim,
    EdgeRecord,
    NewBatch,
    PushedTable,
    PushKind,
    PushRecord,
    PushState,
    Receipt,
    Sample,
    TableDigests,
    TableRecord,
    WindowRecord,
)
from mc_push_dagster.ledger.store import Ledger

__all__ = [
    "BatchRecord",
    "BatchState",
    "Claim",
    "Due",
    "EdgeKey",
    "EdgeRecord",
    "Lease",
    "Ledger",
    "LedgerCatalog",
    "NewBatch",
    "PushKind",
    "PushRecord",
    "PushState",
    "PushedTable",
    "Receipt",
    "Sample",
    "TableDigests",
    "TableRecord",
    "WindowRecord",
]
