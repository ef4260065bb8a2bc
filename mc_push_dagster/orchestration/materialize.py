"""Materializes a warehouse's push assets in this process, as clicks in Dagster's UI would: for the demo, and for scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from os import environ
from pathlib import Path
from typing import Any

import dagster as dg

from mc_push_dagster.errors import PushError


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
    if "DAGSTER_HOME" in environ:
        opened = dg.DagsterInstance.get()
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


def _run(definitions: dg.Definitions, job: str, *, on: dg.DagsterInstance, partition: str | None) -> list[Materialized]:
    result = definitions.resolve_job_def(job).execute_in_process(
        instance=on, partition_key=partition, raise_on_error=False
    )
    if not result.success:
        failures = [e.event_specific_data for e in result.all_events if e.is_step_failure]
        reasons = "; ".join(str(getattr(getattr(f, "error", None), "message", f)).strip() for f in failures)
        raise PushError(f"run {result.run_id} of {job} failed: {reasons or 'see its log in Dagster'}")
    found = []
    for event in result.all_events:
        if event.is_step_materialization:
            made = event.step_materialization_data.materialization
            metadata = {label: getattr(value, "value", value) for label, value in made.metadata.items()}
            found.append(Materialized(asset="/".join(made.asset_key.path), partition=made.partition, metadata=metadata))
    return found
