"""The shapes of the ingest endpoints' bodies.

Sources: push-ingest-api, the "Table Schema" blocks; optional parts as pycarlo's builders write them. Fields nobody
documents are refused (inferred): a misspelt field must not vanish silently.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, ValidationInfo, with_config
from pydantic_core import PydanticCustomError

# Python 3.11: pydantic needs the newer TypedDict.
from typing_extensions import TypedDict

from mc_push_dagster.sandbox.clock import moment
from mc_push_dagster.sandbox.contract import ASSET_TYPES, DOCUMENTED_ASSET_TYPES

_strict = with_config(ConfigDict(extra="forbid", strict=True))
_RESOURCE_TYPE = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")


def _time(text: str) -> str:
    try:
        moment(text)
    except ValueError as error:
        raise PydanticCustomError("time", "must be an ISO 8601 time") from error
    return text


def _error_code(value: Any) -> Any:
    # push-ingest-api says string; pycarlo's QueryLogEntry takes str or int, so both arrive.
    if value is None or isinstance(value, str) or type(value) is int:
        return value
    raise PydanticCustomError("error_code", "must be a string, an integer or null")


def _resource_type(text: str) -> str:
    if _RESOURCE_TYPE.fullmatch(text):
        return text
    raise PydanticCustomError("resource_type", "must be lower case, e.g. snowflake, data-lake")


def _asset_type(text: str, info: ValidationInfo) -> str:
    allowed = DOCUMENTED_ASSET_TYPES if (info.context or {}).get("lenient") else ASSET_TYPES
    if text in allowed:
        return text
    raise PydanticCustomError("asset_type", "must be one of {allowed}", {"allowed": ", ".join(sorted(allowed))})


Text = Annotated[str, StringConstraints(min_length=1)]
AssetType = Annotated[str, AfterValidator(_asset_type)]
Time = Annotated[str, AfterValidator(_time)]
Count = Annotated[int, Field(ge=0, lt=2**63)]


@_strict
class Resource(TypedDict):
    uuid: Text
    resource_type: Annotated[str, AfterValidator(_resource_type)]


@_strict
class Names(TypedDict):
    name: Text
    database: Text
    schema: Text
    description: NotRequired[str | None]
    view_query: NotRequired[str | None]
    created_on: NotRequired[Time | None]


@_strict
class Tag(TypedDict):
    key: Text
    value: NotRequired[str | None]


@_strict
class AssetField(TypedDict):
    name: Text
    type: Text
    description: NotRequired[str | None]


@_strict
class Volume(TypedDict):
    row_count: NotRequired[Count | None]
    byte_count: NotRequired[Count | None]


@_strict
class Freshness(TypedDict):
    # push-ingest-api: "Required if the freshness block is included".
    last_update_time: Time


@_strict
class RelationalAsset(TypedDict):
    type: AssetType
    metadata: Names
    tags: NotRequired[list[Tag]]
    fields: NotRequired[list[AssetField]]
    volume: NotRequired[Volume]
    freshness: NotRequired[Freshness]


@_strict
class MetadataEvent(TypedDict):
    relational_asset: RelationalAsset


@_strict
class MetadataBody(TypedDict):
    event_type: Literal["METADATA"]
    resource: Resource
    events: Annotated[list[MetadataEvent], Field(min_length=1)]


@_strict
class AssetRef(TypedDict):
    type: AssetType
    name: Text
    database: Text
    schema: Text
    asset_id: NotRequired[Text]
    resource_uuid: NotRequired[Text]
    resource_type: NotRequired[Annotated[str, AfterValidator(_resource_type)]]


@_strict
class SourceField(TypedDict):
    asset_id: Text
    field_name: Text


@_strict
class LineageField(TypedDict):
    name: Text
    source_fields: Annotated[list[SourceField], Field(min_length=1)]


@_strict
class LineageEvent(TypedDict):
    destination: AssetRef
    sources: Annotated[list[AssetRef], Field(min_length=1)]
    fields: NotRequired[list[LineageField]]


@_strict
class LineageBody(TypedDict):
    event_type: Literal["LINEAGE", "COLUMN_LINEAGE"]
    resource: NotRequired[Resource]
    events: Annotated[list[LineageEvent], Field(min_length=1)]


@_strict
class LogResource(TypedDict):
    uuid: Text
    log_type: NotRequired[str]
    resource_type: NotRequired[str]


@_strict
class QueryLogEntry(TypedDict):
    start_time: Time
    end_time: Time
    query_text: Text
    query_id: NotRequired[str | None]
    user: NotRequired[str | None]
    returned_rows: NotRequired[int | None]
    error_code: NotRequired[Annotated[Any, AfterValidator(_error_code)]]
    error_text: NotRequired[str | None]
    extra: NotRequired[dict[str, Any] | None]


@_strict
class QueryLogBody(TypedDict):
    event_type: Literal["QUERY_LOG"]
    resource: LogResource
    events: Annotated[list[QueryLogEntry], Field(min_length=1)]
