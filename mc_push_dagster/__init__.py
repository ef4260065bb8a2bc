"""Feed Monte Carlo from any SQL warehouse through its Push Ingest API, as Dagster assets or from the command line.

Public names are imported when they are first used: `import mc_push_dagster` costs milliseconds, and neither Dagster nor
any client comes along. Dagster finds the component here through the entry point `dagster_dg_cli.registry_modules`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mc_push_dagster.version import __version__

if TYPE_CHECKING:
    from mc_push_dagster.config import PushConfig
    from mc_push_dagster.orchestration.build import build_monte_carlo_definitions
    from mc_push_dagster.orchestration.component import MonteCarloPushComponent

_PUBLIC = {
    "MonteCarloPushComponent": "mc_push_dagster.orchestration.component",
    "PushConfig": "mc_push_dagster.config",
    "build_monte_carlo_definitions": "mc_push_dagster.orchestration.build",
}

__all__ = ["MonteCarloPushComponent", "PushConfig", "__version__", "build_monte_carlo_definitions"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
