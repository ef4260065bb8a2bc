"""Errors, named by what the caller does next.

    PushError
    ├── FixConfiguration          the user changes the configuration; exit code 2
    │   ├── MissingExtra          ... installs an extra
    │   └── EndpointMismatch      ... a real key and a sandbox endpoint, or the reverse
    ├── FixAccess                 the user gets a right or another key (401, 403, warehouse permissions)
    ├── WarehouseUnavailable      the warehouse did not answer: try again later
    ├── TryAgain                  the gateway will take the same request later; carries `retry_after`
    │   └── MaybeDelivered        ... and may have stored it already (no answer after the body was sent)
    ├── SplitBatch                413: send the same events in smaller bodies
    ├── Rejected                  400: an event is wrong; carries the gateway's details
    ├── PushIncomplete            part of a push arrived; carries every accepted invocation id
    ├── StorageFault              the outbox or the ledger cannot be written (disk full, read-only)
    ├── PushInProgress            another process holds this push
    └── BrokenContract            a warehouse or a peer did what its contract forbids: a bug, ours or theirs

Messages are one clear sentence that names the thing and the way out. They never hold secrets or row values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mc_push_dagster.model import Feed


class PushError(Exception):
    """The root: whatever this package raises on purpose."""


class FixConfiguration(PushError):
    """The configuration is wrong or incomplete."""


class MissingExtra(FixConfiguration):
    """A driver is not installed."""

    def __init__(self, *, what: str, extra: str) -> None:
        super().__init__(f"{what} needs a package that is not installed: pip install 'mc-push-dagster[{extra}]'")
        self.extra = extra


class EndpointMismatch(FixConfiguration):
    """A real key would go to a sandbox, or a sandbox key to production."""


class FixAccess(PushError):
    """A key or a user lacks a right."""


class WarehouseUnavailable(PushError):
    """The warehouse did not answer, or broke off."""


class TryAgain(PushError):
    """The request may be sent again as it is."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds the gateway asked us to wait, or None."""


class MaybeDelivered(TryAgain):
    """The body was sent and no answer came: the gateway may hold it already."""


class SplitBatch(PushError):
    """The body is too large (413)."""


class Rejected(PushError):
    """The gateway refuses the content (400)."""

    def __init__(self, message: str, *, details: Any = None) -> None:
        super().__init__(message)
        self.details = details
        """The gateway's `details`, as it sent them; their shape is not documented."""


class PushIncomplete(PushError):
    """Not everything arrived."""

    def __init__(self, message: str, *, push_id: str, invocation_ids: Mapping[Feed, tuple[str, ...]]) -> None:
        super().__init__(message)
        self.push_id = push_id
        self.invocation_ids = invocation_ids
        """Every id that the gateway has given for this push, by feed."""


class StorageFault(PushError):
    """The outbox or the ledger cannot be written or read."""


class PushInProgress(PushError):
    """Another process is at work on the same push."""


class BrokenContract(PushError):
    """A warehouse, a driver or a peer answered what its contract forbids."""
