"""Rows of Snowflake's system views become our nouns; pure functions, no connection."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from mc_push_dagster.model import (
    AssetType,
    ChangeSource,
    Column,
    DataChange,
    QueryRecord,
    TableRef,
    TableSnapshot,
    Tag,
    utc,
)

Row = Mapping[str, Any]

LOG_TEXT_LIMIT = 100_000
"""QUERY_HISTORY cuts texts off here (Account Usage, "QUERY_HISTORY view", column query_text)."""

_VIEWS = ("VIEW", "MATERIALIZED VIEW")
_SAME_MOMENT = timedelta(seconds=1)  # LAST_ALTERED and LAST_DDL of one DDL statement may differ by milliseconds
_PART = re.compile(r'"((?:[^"]|"")*)"|([^".]+)')
_QUALIFIED = re.compile(r'(?:"(?:[^"]|"")*"|[^".]+)(?:\.(?:"(?:[^"]|"")*"|[^".]+)){2}')
_LITERALS = re.compile(r"'(?:[^'\\]|''|\\.)*'|\"(?:[^\"]|\"\")*\"|\$\$.*?\$\$|--[^\n]*|//[^\n]*|/\*.*?\*/", re.DOTALL)
_BARE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_LONG_TEXT = 8_000  # shorter view texts are never cut: they are not examined
_DEEPEST = 32  # levels of nested types written out; a deeper or circular one is written bare


def ref(row: Row, prefix: str = "table_", *, database: str = "catalog", name: str = "name") -> TableRef:
    """The table that a row names in its columns `<prefix><database>`, `<prefix>schema` and `<prefix><name>`."""
    return TableRef(database=row[prefix + database], schema=row[prefix + "schema"], name=row[prefix + name])


def qualified(name: str | None) -> TableRef | None:
    """Read `DB.SCHEMA.TABLE` as ACCESS_HISTORY writes it: parts that need them are in double quotes.

    None if it is not a name of three parts: such an object cannot be told apart, and no edge is made of it.
    """
    if name is None or _QUALIFIED.fullmatch(name) is None:
        return None
    database, schema, table = (
        bare if bare else quoted.replace('""', '"') for quoted, bare in _PART.findall(name)
    )  # fmt: skip
    return TableRef(database=database, schema=schema, name=table)


def asset_type(domain: str | None) -> AssetType:
    """`TABLE` or `VIEW` for a table type or an object domain, in any case."""
    return AssetType.VIEW if (domain or "").upper() in _VIEWS else AssetType.TABLE


def snapshot(row: Row, *, written_at: datetime | None, tags: tuple[Tag, ...], other_text: str | None) -> TableSnapshot:
    """One row of the tables statement; `other_text` is the definition where the VIEWS view has none."""
    kind = (row["table_type"] or "").upper()
    counted = kind not in ("VIEW", "EXTERNAL TABLE")
    return TableSnapshot(
        ref=ref(row),
        asset_type=asset_type(kind),
        native_type=native_type(row),
        description=row["comment"] or None,
        view_query=view_text(row["view_definition"]) or view_text(other_text),
        created_at=row["created"],
        tags=tags,
        row_count=whole(row["row_count"]) if counted else None,
        byte_count=whole(row["bytes"]) if counted else None,
        data_change=data_change(row, written_at),
    )


def native_type(row: Row) -> str:
    """What Snowflake calls the object, e.g. `DYNAMIC ICEBERG TABLE`, `SECURE VIEW`, `TRANSIENT TABLE`."""
    kind = (row["table_type"] or "BASE TABLE").upper()
    if kind in _VIEWS:
        return f"SECURE {kind}" if _yes(row["is_secure"]) else kind
    if kind != "BASE TABLE":
        return kind
    marks = [word for word in ("transient", "dynamic", "iceberg", "hybrid") if _yes(row[f"is_{word}"])]
    return " ".join((*(mark.upper() for mark in marks), "TABLE")) if marks else kind


def data_change(row: Row, written_at: datetime | None) -> DataChange | None:
    """When data last changed: the log of writes, else LAST_ALTERED where the last change was no DDL.

    LAST_ALTERED is moved by DDL, by DML even without effect, and by background maintenance; LAST_DDL by DDL alone
    (Information Schema, "TABLES view"). A table filled by its own creation (CREATE TABLE AS) shows one time for both.
    """
    if (row["table_type"] or "").upper() not in ("BASE TABLE", "EVENT TABLE"):
        return None
    if written_at is not None:
        return DataChange(at=written_at, source=ChangeSource.WRITE_LOG)
    altered, ddl, created = row["last_altered"], row["last_ddl"], row["created"]
    if altered is None:
        return None
    by_ddl = ddl is not None and utc(altered) - utc(ddl) <= _SAME_MOMENT
    born_then = created is not None and utc(altered) - utc(created) <= _SAME_MOMENT
    if by_ddl and not (born_then and row["row_count"]):
        return None
    return DataChange(at=altered, source=ChangeSource.DDL_POLLUTED)


def view_text(text: str | None) -> str | None:
    """The text of a view, or None if it is withheld (secure views of other roles) or visibly cut off."""
    if text is None or not text.strip():
        return None
    if len(text) >= _LONG_TEXT:
        code = _LITERALS.sub("", text)
        if code.count("(") != code.count(")") or "'" in code:
            return None
    return text


Types = Mapping[tuple[str, str, str, str], Iterable[Row]]
"""Rows of ELEMENT_TYPES and FIELDS by (database, schema, table, type identifier)."""


def column(row: Row, nested: Types) -> Column:
    """One row of the columns statement."""
    table = (row["table_catalog"], row["table_schema"], row["table_name"])
    return Column(name=row["column_name"], type=type_text(row, table, nested), description=row["comment"] or None)


def type_text(row: Row, table: tuple[str, str, str], nested: Types, depth: int = 0) -> str:
    """A type as DESCRIBE TABLE writes it: `NUMBER(38,0)`, `VARCHAR(50)`, `ARRAY(VARCHAR(9))`, `OBJECT(A DATE)`."""
    kind = (row["data_type"] or "").upper()
    if kind in ("NUMBER", "DECIMAL") and row["numeric_precision"] is not None:
        return f"NUMBER({whole(row['numeric_precision'])},{whole(row['numeric_scale']) or 0})"
    if kind in ("TEXT", "VARCHAR"):
        return _sized("VARCHAR", row["character_maximum_length"])
    if kind == "BINARY":
        return _sized("BINARY", row["character_octet_length"])
    if kind.startswith("TIME"):
        return _sized(kind, row["datetime_precision"])
    if kind in ("ARRAY", "OBJECT", "MAP") and depth < _DEEPEST:
        parts = list(nested.get((*table, str(row["dtd_identifier"])), ()))
        inner = [type_text(part, table, nested, depth + 1) for part in parts]
        if kind == "OBJECT":
            inner = [f"{_written(part['field_name'])} {text}" for part, text in zip(parts, inner, strict=True)]
        return f"{kind}({', '.join(inner)})" if inner else kind
    return kind


def _sized(kind: str, size: Any) -> str:
    return kind if size is None else f"{kind}({whole(size)})"


def _written(name: str) -> str:
    return name if _BARE_NAME.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def query(row: Row) -> QueryRecord:
    """One row of the query log."""
    failed = (row["execution_status"] or "").upper() != "SUCCESS"
    code = row["error_code"] if failed else None
    text = row["error_message"] if failed else None
    extra = {
        name: whole(value) if isinstance(value, int) or name in _NUMBERS else value
        for name in _EXTRA
        if (value := row[name]) not in (None, "")
    }
    if len(row["query_text"]) >= LOG_TEXT_LIMIT:
        extra["query_text_truncated"] = True
    return QueryRecord(
        text=row["query_text"],
        started_at=utc(row["start_time"]),
        ended_at=utc(row["end_time"]),
        query_id=row["query_id"],
        user=row["user_name"],
        returned_rows=whole(row["rows_produced"]),
        error_code=None if code is None else str(code),
        error_text=(text or row["execution_status"] or "failed") if failed else None,
        database=row["database_name"],
        schema=row["schema_name"],
        session_id=None if row["session_id"] is None else str(row["session_id"]),
        extra=extra,
    )


_NUMBERS = ("bytes_scanned", "total_elapsed_time", "rows_inserted", "rows_updated", "rows_deleted")
_EXTRA = ("query_type", "query_tag", "role_name", "warehouse_name", "warehouse_size", *_NUMBERS)


def whole(value: Any) -> int | None:
    """A plain int of what the driver gives for NUMBER (int or Decimal)."""
    return None if value is None else int(value)


def _yes(value: str | None) -> bool:
    return (value or "").upper() in ("YES", "Y", "TRUE")
