"""A push's report as Dagster shows it: every number of it, never a secret, at most 100 rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from mc_push_dagster.flow.report import HeldBack, PushReport, TableChange
from mc_push_dagster.model import hour_bucket
from mc_push_dagster.orchestration.outcomes import invocation_ids

ROWS = 100
NAMES = 50


def of_report(report: PushReport) -> dict[str, Any]:
    """Return the metadata of one push."""
    out: dict[str, Any] = {
        "mc/push_id": report.push_id,
        "mc/invocation_ids": invocation_ids(report.invocation_ids),
        "mc/resource_uuid": report.target.resource_uuid,
        "mc/hour_bucket": f"{report.hour:%Y-%m-%dT%H:00Z}",
        "mc/requests": report.requests,
        "mc/bytes": report.raw_bytes,
        "mc/seconds": round((report.finished_at - report.started_at).total_seconds(), 3),
    }
    out |= {f"mc/{noun}": count for noun, count in report.counts.items()}
    out |= {f"mc/events/{feed.value.lower()}": count for feed, count in report.events.items()}
    if report.manifest is not None:
        out["mc/manifest"] = _link(report.manifest)
    if report.maybe_twice:
        out["mc/maybe_twice"] = report.maybe_twice
    return out | _problems(report) | _tables(report)


def _problems(report: PushReport) -> dict[str, Any]:
    out: dict[str, Any] = {"mc/gaps": len(report.gaps), "mc/set_aside": len(report.set_aside)}
    if report.gaps:
        out["mc/gap_list"] = _table({"what": gap.subject, "why": gap.reason} for gap in report.gaps[:ROWS])
    if report.set_aside:
        out["mc/set_aside_list"] = _table(
            {"feed": item.feed.value, "what": item.name, "why": item.reason} for item in report.set_aside[:ROWS]
        )
    if report.held_back is not None:
        out["mc/held_back"] = why_held_back(report.held_back)
    return out


def _tables(report: PushReport) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if report.changes:
        out |= of_changes(report.changes)
    if report.largest:
        out["mc/largest_tables"] = _table(
            {
                "table": str(line.ref),
                "type": line.native_type,
                "columns": line.columns,
                "rows": line.row_count,
                "bytes": line.byte_count,
                "last change": f"{line.last_change:%Y-%m-%dT%H:%M:%SZ}" if line.last_change else None,
            }
            for line in report.largest[:ROWS]
        )
    return out


def why_held_back(held: HeldBack) -> str:
    """Say why a push carried no volume and freshness for some tables (design §5.4: once an hour and table)."""
    until = hour_bucket(held.hour)
    return (
        f"volume and freshness of {held.tables} tables were not sent: they went out already in the hour that began at "
        f"{until:%Y-%m-%dT%H:00Z}, by push {', '.join(held.push_ids)}; Monte Carlo keeps one measurement an hour"
    )


def of_changes(changes: Sequence[TableChange]) -> dict[str, Any]:
    """Name what changed, at most `NAMES` tables of it."""
    return {
        "mc/changed_tables": len(changes),
        "mc/changes": _table(
            {
                "table": str(change.ref),
                "change": change.change,
                "columns added": ", ".join(change.columns_added[:NAMES]),
                "columns removed": ", ".join(change.columns_removed[:NAMES]),
                "columns retyped": ", ".join(change.columns_retyped[:NAMES]),
            }
            for change in changes[:NAMES]
        ),
    }


def _table(rows: Iterable[Mapping[str, Any]]) -> dg.MetadataValue:
    return dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in rows])


def _link(manifest: str) -> dg.MetadataValue:
    local = manifest.removeprefix("file://")
    return dg.MetadataValue.text(manifest) if "://" in local else dg.MetadataValue.path(local)
