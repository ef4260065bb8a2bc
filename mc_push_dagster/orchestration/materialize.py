"""Materializes a warehouse's push assets in this process, as clicks in the UI would: for the demo, and for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from os import environ
from pathlib import Path
from typing import Any

import dagster as dg

from mc_push_dagster.errors import FixConfiguration, PushError


@dataclass(frozen=True, kw_only=True)
class Materialized:
    """One asset, or one partition of it, with what its materialization tells."""

    asset: str
    partition: str | None
    metadata: Mapping[str, Any]


@contextmanager
def instance(folder: Path) -> Iterator[dg.DagsterInstance]:
    """Open the instance that `dagster dev` here would open, so that its UI shows what was done.

    That is $DAGSTER_HOME, else this folder's dagster.yaml, else one of our own in `folder`.
    """
    if environ.get("DAGSTER_HOME"):
        try:
            opened = dg.DagsterInstance.get()
        except dg.DagsterInvariantViolationError as error:
            raise FixConfiguration(f"DAGSTER_HOME: {str(error).splitlines()[0]}") from error
    elif Path("dagster.yaml").exists():
        opened = dg.DagsterInstance.from_config(str(Path.cwd()))
    else:
        folder.mkdir(parents=True, exist_ok=True)
        opened = dg.DagsterInstance.local_temp(str(folder.absolute()))
    with opened:
        yield opened


def materialize(
    definitions: dg.Definitions,
    name: str,
    *,
    on: dg.DagsterInstance,
    hours: Sequence[datetime] = (),
) -> list[Materialized]:
    """Run the hourly push of warehouse `name`, then its query-log windows `hours` (starts, UTC).

    Raises:
        PushError: if a run failed; it names the run and the reason.
    """
    done = _run(definitions, f"monte_carlo_{name}_hourly_push", on=on, partition=None)
    for hour in hours:
        done += _run(definitions, f"monte_carlo_{name}_query_log_push", on=on, partition=f"{hour:%Y-%m-%d-%H:00}")
    return done


# The screen belongs to whoever calls; Dagster's UI shows the log.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def _reason(error: Any) -> str:
    """The first line of what the asset itself raised, below Dagster's own wrapping."""
    while getattr(error, "cause", None) is not None:
        error = error.cause
    return str(getattr(error, "message", error)).strip().splitlines()[0]


def _interrupted(error: Any) -> bool:
    """Whether Dagster broke the step off; by the error's class, for a warehouse's words may say so of itself."""
    while error is not None:
        if error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
            return True
        error = error.cause
    return False


def _run(definitions: dg.Definitions, job: str, *, on: dg.DagsterInstance, partition: str | None) -> list[Materialized]:
    result = definitions.resolve_job_def(job).execute_in_process(
        instance=on, partition_key=partition, raise_on_error=False, run_config=_QUIET
    )
    if any(_interrupted(e.step_failure_data.error) for e in result.all_events if e.is_step_failure):
        raise KeyboardInterrupt
    if not result.success:
        reasons = "; ".join(_reason(e.step_failure_data.error) for e in result.all_events if e.is_step_failure)
        raise PushError(f"run {result.run_id} of {job} failed: {reasons or 'see its log in Dagster'}")
    found = []
    for event in result.all_events:
        if event.is_step_materialization:
            made = event.step_materialization_data.materialization
            metadata = {label: getattr(value, "value", value) for label, value in made.metadata.items()}
            found.append(Materialized(asset="/".join(made.asset_key.path), partition=made.partition, metadata=metadata))
    return found
