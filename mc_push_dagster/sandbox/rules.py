"""The wire contract: which bodies are taken, with an answer for each field that is wrong.

Bodies are validated straight from their bytes into plain dicts (wire.py has their shapes); what a shape cannot say, the
functions below do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mc_push_dagster.sandbox.clock import moment
from mc_push_dagster.sandbox.contract import LOG_TYPES
from mc_push_dagster.sandbox.wire import LineageBody, MetadataBody, QueryLogBody

MOST_DETAILS = 200
"""How many wrong fields one answer names."""

_ZONE = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")
_ADAPTERS: dict[str, TypeAdapter[Any]] = {
    "metadata": TypeAdapter(MetadataBody),
    "lineage": TypeAdapter(LineageBody),
    "querylogs": TypeAdapter(QueryLogBody),
}
PATHS = tuple(_ADAPTERS)


class ContractError(Exception):
    """A body breaks the contract; `details` maps `events/0/relational_asset/type` to what is wrong with it."""

    def __init__(self, message: str, details: Mapping[str, str]) -> None:
        super().__init__(message)
        self.message = message
        self.details = dict(details)


def check(path: str, body: bytes, *, lenient: bool = False) -> dict[str, Any]:
    """Return the body of `/ingest/v1/<path>` as plain data.

    `lenient` takes the longer documented list of asset types and drops the rules that are only inferred.

    Raises:
        ContractError: with every wrong field, up to `MOST_DETAILS`.
    """
    try:
        data = _ADAPTERS[path].validate_json(body, context={"lenient": lenient})
    except ValidationError as error:
        details = {}
        for wrong in error.errors(include_url=False, include_input=False, include_context=False)[:MOST_DETAILS]:
            details.setdefault("/".join(map(str, wrong["loc"])) or "$", wrong["msg"])
        raise ContractError("Schema validation failed", details) from error
    details = dict(_at_most(MOST_DETAILS, _RULES[path](data, lenient)))
    if details:
        log_type = details.get("resource/log_type")
        raise ContractError(log_type or "Schema validation failed", details)
    return data


def _at_most(most: int, wrong: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for _, each in zip(range(most), wrong, strict=False):
        yield each


def _zone(text: str) -> str | None:
    return None if _ZONE.search(text) else "must carry a time zone, e.g. 2024-03-01T14:30:00Z"


def _metadata(data: dict[str, Any], lenient: bool) -> Iterator[tuple[str, str]]:
    for i, event in enumerate(data["events"]):
        asset = event["relational_asset"]
        at = f"events/{i}/relational_asset"
        if "volume" in asset and not asset["volume"] and not lenient:
            yield f"{at}/volume", "is empty: leave the block out"
        if lenient:
            continue
        if "freshness" in asset and (wrong := _zone(asset["freshness"]["last_update_time"])):
            yield f"{at}/freshness/last_update_time", wrong
        created = asset["metadata"].get("created_on")
        if created and (wrong := _zone(created)):
            yield f"{at}/metadata/created_on", wrong


def _lineage(data: dict[str, Any], lenient: bool) -> Iterator[tuple[str, str]]:
    has_resource = "resource" in data
    for i, event in enumerate(data["events"]):
        sources = event["sources"]
        refs = [("destination", event["destination"]), *((f"sources/{j}", s) for j, s in enumerate(sources))]
        for place, ref in refs:
            yield from _reference(f"events/{i}/{place}", ref, has_resource)
        fields = event.get("fields")
        if fields and data["event_type"] != "COLUMN_LINEAGE":
            yield f"events/{i}/fields", "belongs to event_type COLUMN_LINEAGE"
        known = {s.get("asset_id") for s in sources}
        for j, field in enumerate(fields or ()):
            for k, source in enumerate(field["source_fields"]):
                if source["asset_id"] not in known:
                    yield f"events/{i}/fields/{j}/source_fields/{k}/asset_id", "matches no source of this event"


def _reference(at: str, ref: Mapping[str, Any], has_resource: bool) -> Iterator[tuple[str, str]]:
    both = ("resource_uuid" in ref) + ("resource_type" in ref)
    if both == 1:
        yield at, "resource_uuid and resource_type come together"
    elif both == 0 and not has_resource:
        yield at, "needs resource_uuid and resource_type, since the body names no resource"


def _query_logs(data: dict[str, Any], lenient: bool) -> Iterator[tuple[str, str]]:
    resource = data["resource"]
    log_type = resource.get("log_type")
    if log_type not in LOG_TYPES:
        yield "resource/log_type", f"Unsupported ingest query-log log_type: {log_type}"
    if "resource_type" in resource:
        yield "resource/resource_type", "query logs take log_type, not resource_type"
    if lenient:
        return
    for i, event in enumerate(data["events"]):
        zones = [(name, _zone(event[name])) for name in ("start_time", "end_time")]
        yield from ((f"events/{i}/{name}", wrong) for name, wrong in zones if wrong)
        if not any(wrong for _, wrong in zones) and moment(event["end_time"]) < moment(event["start_time"]):
            yield f"events/{i}/end_time", "is before start_time"


_RULES = {"metadata": _metadata, "lineage": _lineage, "querylogs": _query_logs}


def warehouses_of(data: Mapping[str, Any]) -> set[str]:
    """Every warehouse that a valid body speaks of; cross-warehouse lineage names one on each asset."""
    found = {data["resource"]["uuid"]} if "resource" in data else set()
    if data["event_type"] in ("LINEAGE", "COLUMN_LINEAGE"):
        for event in data["events"]:
            found.update(r["resource_uuid"] for r in (event["destination"], *event["sources"]) if "resource_uuid" in r)
    return found
