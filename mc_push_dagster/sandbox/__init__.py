"""A local stand-in for Monte Carlo, and the demo warehouse: no account and no network needed.

    with serve() as box:
        ...  # push to box.ingest_endpoint with box.ingest_key, read from box.api_endpoint with box.api_key

It enforces the published contract and says on every answer that it is NOT Monte Carlo.
Each rule names its source: contract.py.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mc_push_dagster.sandbox.faults import Fault as Fault
    from mc_push_dagster.sandbox.journal import SeenRequest as SeenRequest
    from mc_push_dagster.sandbox.keys import IntegrationKey as IntegrationKey
    from mc_push_dagster.sandbox.server import Sandbox as Sandbox
    from mc_push_dagster.sandbox.server import serve as serve

# The server's packages are imported by who serves; the demo warehouse in this room needs none of them.
_PLACES = {
    "Fault": "faults",
    "SeenRequest": "journal",
    "IntegrationKey": "keys",
    "Sandbox": "server",
    "serve": "server",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
