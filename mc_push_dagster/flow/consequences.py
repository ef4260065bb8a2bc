"""What an acknowledged body means for the ledger, read from the body itself: what is recorded is what was sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from mc_push_dagster.flow.batch import rebuild
from mc_push_dagster.flow.deliver import Parcel
from mc_push_dagster.flow.drift import schema_digest
from mc_push_dagster.ledger import EdgeKey, Ledger, PushedTable
from mc_push_dagster.model import AssetType, Column, Feed, TableRef, utc


def applier(
    ledger: Ledger, *, hour_of: Callable[[Parcel], datetime], clock: Callable[[], datetime]
) -> Callable[[Parcel], None]:
    """Return what is to be done with each body once its receipt is recorded.

    `hour_of` gives the UTC hour that a body's volume and freshness stand for. Query logs need nothing: their keys stand
    with the body's row from the start.
    """

    def apply(parcel: Parcel) -> None:
        record = parcel.record
        if record.feed is Feed.METADATA:
            ledger.record_metadata(
                parcel.target_uuid,
                pushed_tables(parcel.body),
                push_id=record.push_id,
                seq=record.seq,
                hour=hour_of(parcel),
                at=clock(),
            )
        elif record.feed in (Feed.LINEAGE, Feed.COLUMN_LINEAGE):
            ledger.record_pushed_edges(
                parcel.target_uuid,
                pushed_edges(parcel.body, parcel.target_uuid),
                push_id=record.push_id,
                seq=record.seq,
                at=clock(),
            )

    return apply


def pushed_tables(body: bytes) -> Iterator[PushedTable]:
    """Yield what each event of a metadata body says."""
    for wire in rebuild(body)[1]:
        asset = wire["relational_asset"]
        fields, volume = asset.get("fields"), asset.get("volume", {})
        columns = (
            tuple(Column(name=f["name"], type=f["type"], description=f.get("description")) for f in fields)
            if fields
            else None
        )
        changed = asset.get("freshness", {}).get("last_update_time")
        yield PushedTable(
            ref=_ref(asset["metadata"]),
            columns=columns,
            digest=schema_digest(columns) if columns is not None else None,
            row_count=volume.get("row_count"),
            byte_count=volume.get("byte_count"),
            changed_at=utc(datetime.fromisoformat(changed)) if changed else None,
            is_view=asset["type"] == AssetType.VIEW.value,
        )


def pushed_edges(body: bytes, target_uuid: str) -> Iterator[EdgeKey]:
    """Yield the edges that a lineage body carries."""
    for wire in rebuild(body)[1]:
        destination = _ref(wire["destination"])
        if "fields" not in wire:
            for source in wire["sources"]:
                yield EdgeKey(source=_ref(source), destination=destination, source_uuid=_elsewhere(source, target_uuid))
            continue
        by_alias = {source["asset_id"]: source for source in wire["sources"]}
        for field in wire["fields"]:
            for origin in field["source_fields"]:
                source = by_alias[origin["asset_id"]]
                yield EdgeKey(
                    source=_ref(source),
                    destination=destination,
                    source_column=origin["field_name"],
                    destination_column=field["name"],
                    source_uuid=_elsewhere(source, target_uuid),
                )


def _ref(wire: Mapping[str, Any]) -> TableRef:
    return TableRef(database=wire["database"], schema=wire["schema"], name=wire["name"])


def _elsewhere(source: Mapping[str, Any], target_uuid: str) -> str | None:
    """The source's resource, if it is another one than the destination's."""
    uuid = source.get("resource_uuid")
    return uuid if uuid != target_uuid else None
