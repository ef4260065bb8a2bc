"""Dagster, thin: the component, assets, checks, sensors and schedules that call the flow and show what it reports."""

from mc_push_dagster.orchestration._compat import register_library
from mc_push_dagster.version import __version__

register_library("mc_push_dagster", __version__)
