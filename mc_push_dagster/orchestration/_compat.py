"""Every name of Dagster's that is not public, in one place, each with its reason.

Written against dagster 1.13; a test imports all of them, so that a release which moves one is seen at once.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import dagster as dg

# Not exported by `dagster.components`, yet the documented way to give a component a `translation` attribute.
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver
from pydantic import BaseModel
from pydantic.fields import FieldInfo

__all__ = [
    "Described",
    "TranslationFn",
    "TranslationFnResolver",
    "in_run_process",
    "register_library",
    "sensor_deadline_seconds",
    "state_storage_at_hand",
    "without_dagster_warnings",
]

T = TypeVar("T")


class Described(dg.Resolvable):
    """Keeps the fields' descriptions in the schema that Dagster's tools and editors show for `defs.yaml`.

    Dagster derives that schema from the class and drops the description of each field that has a default.
    """

    @classmethod
    def model(cls) -> type[BaseModel]:
        derived = super().model()
        lost = [
            (field, ours.description)
            for name, field in derived.model_fields.items()
            if field.description is None and (ours := _fields(cls)[name]).description is not None
        ]
        for field, description in lost:
            field.description = description
        if lost:
            derived.model_rebuild(force=True)
        return derived


def _fields(cls: type) -> Mapping[str, FieldInfo]:
    return cls.model_fields if issubclass(cls, BaseModel) else {}


def register_library(name: str, version: str) -> None:
    """Make Dagster list our version on its deployment page, as it lists its own integrations."""
    # `dagster_shared` is Dagster's own package of shared parts; there is no public way to register.
    from dagster_shared.libraries import DagsterLibraryRegistry

    DagsterLibraryRegistry.register(name, version, is_dagster_package=False)


def without_dagster_warnings(build: Callable[[], T]) -> T:
    """Call `build` without Dagster's beta and preview warnings.

    `load_from_defs_folder` silences them in the same way; whoever loads lighter than that would get two for each table.
    """
    from dagster._utils.warnings import suppress_dagster_warnings

    return suppress_dagster_warnings(build)()


def state_storage_at_hand() -> bool:
    """Return True where Dagster has a storage for versioned state: in its servers and runs, if its instance has one."""
    # The storage is handed to components by a context variable; only this class reads it.
    from dagster._core.storage.defs_state.base import DefsStateStorage

    return DefsStateStorage.get() is not None


def sensor_deadline_seconds() -> float:
    """Return how long a sensor may work: Dagster's limit less 20 s, the margin its own integrations leave.

    An evaluation that exceeds the limit is not stopped, only reported as failed, and the next one overlaps it.
    """
    # The limit counts an environment variable in; Dagster's own integrations read the same name.
    from dagster._grpc.client import DEFAULT_SENSOR_GRPC_TIMEOUT

    return max(float(DEFAULT_SENSOR_GRPC_TIMEOUT) - 20, 5)


def in_run_process(
    argv: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ, *, child: bool | None = None
) -> bool:
    """Return True in a process that executes a run or a step, where nobody looks at the tables.

    `DefinitionsLoadType.RECONSTRUCTION` cannot tell: the code server itself builds its snapshot in that mode.
    """
    if child is None:
        child = multiprocessing.parent_process() is not None
    words = set(sys.argv if argv is None else argv)
    return child or bool(words & {"execute_run", "execute_step"}) or "DAGSTER_RUN_JOB_NAME" in environment
