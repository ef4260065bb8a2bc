"""Reads Spark's description of a table: the text of SHOW TABLE EXTENDED, and the rows of DESCRIBE TABLE EXTENDED.

The text is a list of `Key: value` lines in which comments, view texts and property values stand unescaped, newlines
and all: a comment may hold a line that looks like statistics. What cannot be told apart for certain is
`DoubtfulError`, never guessed; DESCRIBE TABLE EXTENDED, one row a key, then settles it. Sources:
CatalogTable.toLinkedHashMap (Spark 3.5 and 4.x), `current-snapshot-*` of Iceberg's HiveTableOperations; texts of
real servers in the golden files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from mc_push_dagster.model import Column


class DoubtfulError(Exception):
    """The text can be read in more than one way."""


class NeedsCommentError(Exception):
    """The text can be read only by who knows the table's comment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What an Iceberg table says about its current snapshot."""

    at: datetime | None = None
    row_count: int | None = None
    byte_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Information:
    """What Spark tells about one table or view."""

    kind: str
    """MANAGED, EXTERNAL, VIEW, MATERIALIZED_VIEW ..."""
    provider: str | None = None
    comment: str | None = None
    view_text: str | None = None
    created_at: datetime | None = None
    row_count: int | None = None
    byte_count: int | None = None
    snapshot: Snapshot | None = None
    """Set for Iceberg tables whose catalog entry carries the snapshot."""
    snapshot_id: int | None = None
    """Set where only the snapshot's id is known (a V2 catalog)."""
    changed_at: datetime | None = None
    """Set where the table's files were asked."""
    columns: tuple[Column, ...] = ()
    """Only where they were described one by one."""

    @property
    def is_view(self) -> bool:
        return "VIEW" in self.kind


_TAIL = re.compile(
    r"(?:Statistics: (?P<bytes>\d+) bytes(?:, (?P<rows>\d+) rows)?\n)?"
    r"(?:Location: .*\n)?(?:Serde Library: .*\n)?(?:InputFormat: .*\n)?(?:OutputFormat: .*\n)?(?:Compressed\n)?"
    r"(?:Storage Properties: \[.*\]\n)?(?:Partition Provider: .*\n)?(?:Partition Columns: .*\n)?"
    r"(?:Schema: root\n(?: \|.*\n)*)?\n*"
)
_HEAD_END = re.compile(
    r"^(?:Comment|Collation|View Text|Table Properties|Statistics|Location|Serde Library|Schema): ", re.M
)
_PROPERTIES = "Table Properties: ["
_ORIGINAL = "\nView Original Text: "
_AFTER_VIEW = re.compile(
    r"\n(?:View Schema Mode|View Catalog and Namespace|View Query Output Columns|Table Properties|Location"
    r"|Serde Library|Schema): "
)


def parse(text: str, *, comment: str | None = None, zone: ZoneInfo | None = None) -> Information:
    """Read one `information` text; `comment` is the table's comment where another call has told it.

    Raises:
        NeedsCommentError: if measures follow a comment that may have invented them.
        DoubtfulError: if the text fits more than one reading.
    """
    end = _HEAD_END.search(text)
    if end is None:
        raise DoubtfulError
    head = _pairs(text[: end.start()])
    kind, rest = head.get("Type"), text[end.start() :]
    if not kind:
        raise DoubtfulError
    found = Information(kind=kind, provider=head.get("Provider"), created_at=created(head.get("Created Time"), zone))
    rest, written = _without_comment(rest, comment, is_view=found.is_view)
    found = replace(found, comment=written or None)
    if rest.startswith("Collation: "):
        rest = rest.partition("\n")[2]
    if found.is_view:
        return replace(found, view_text=_view_text(rest))
    properties, tail = _cut(rest)
    return _with_measures(found, properties, tail)


def _pairs(head: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for line in head.splitlines():
        key, colon, value = line.partition(": ")
        if not colon or key in pairs:
            raise DoubtfulError
        pairs[key] = value
    return pairs


def _without_comment(rest: str, comment: str | None, *, is_view: bool) -> tuple[str, str | None]:
    if not rest.startswith("Comment: "):
        return rest, None
    if comment is not None:
        start = f"Comment: {comment}\n"
        if not rest.startswith(start):
            raise DoubtfulError  # changed between the two calls
        return rest[len(start) :], comment
    if is_view:
        if rest.count("\nView Text: ") != 1:
            raise DoubtfulError
        shown, _, after = rest.partition("\nView Text: ")
        return f"View Text: {after}", shown.removeprefix("Comment: ")
    if re.search(r"^(?:Statistics|Table Properties): ", rest, re.M):
        raise NeedsCommentError
    # No measures at all: the comment ends where the lines that every table has begin.
    first = [m.start() for m in re.finditer(r"\n(?=Location: |Serde Library: |Schema: )", rest)]
    tails = [i for i in first if _TAIL.fullmatch(rest[i + 1 :])]
    if len(tails) == 0:
        raise DoubtfulError
    return rest[tails[0] + 1 :], rest[: tails[0]].removeprefix("Comment: ")


def _view_text(rest: str) -> str | None:
    if not rest.startswith("View Text: "):
        return None
    body = rest.removeprefix("View Text: ")
    at = -1
    while (at := body.find(_ORIGINAL, at + 1)) >= 0:
        if body.startswith(body[:at], at + len(_ORIGINAL)):  # Spark writes the text twice
            return body[:at]
    if _ORIGINAL in body:
        return body.partition(_ORIGINAL)[0]
    end = _AFTER_VIEW.search(body)
    return body[: end.start()] if end else body.rstrip("\n")


def _cut(rest: str) -> tuple[str, re.Match[str]]:
    """The table properties as one text, and the lines after them."""
    if not rest.startswith(_PROPERTIES):
        tail = _TAIL.fullmatch(rest)
        if tail is None:
            raise DoubtfulError
        return "", tail
    readings: list[tuple[str, re.Match[str]]] = []
    for close in re.finditer(r"\]\n", rest):
        tail = _TAIL.fullmatch(rest, close.end())
        if tail is not None:
            readings.append((rest[len(_PROPERTIES) : close.start()], tail))
    if len(readings) != 1:
        raise DoubtfulError
    return readings[0]


def _with_measures(found: Information, properties: str, tail: re.Match[str]) -> Information:
    if _single(properties, "table_type") in ("ICEBERG", "iceberg"):
        return replace(found, provider="iceberg", snapshot=_snapshot(properties))
    return replace(found, **statistics(tail["bytes"], tail["rows"]))


def statistics(size: str | None, rows: str | None) -> dict[str, int | None]:
    """Byte and row count of a `Statistics` line; 0 rows with bytes is what Spark 4 prints for `not known any more`."""
    byte_count = None if size is None else int(size)
    row_count = None if rows is None else int(rows)
    if row_count == 0 and byte_count:
        row_count = None
    return {"byte_count": byte_count, "row_count": row_count}


def _single(properties: str, key: str) -> str | None:
    """The value of a property whose value holds no comma; None if absent, or named twice (values are free text)."""
    found = re.findall(rf"(?:^|, ){re.escape(key)}=([^,\n\]]*)", properties)
    return found[0] if len(found) == 1 else None


def _snapshot(properties: str) -> Snapshot:
    millis = _single(properties, "current-snapshot-timestamp-ms")
    if millis is None:
        # No snapshot was ever made: an empty table. Anything else is not known.
        none_yet = _single(properties, "snapshot-count") == "0" and "current-snapshot-" not in properties
        return Snapshot(row_count=0, byte_count=0) if none_yet else Snapshot()
    at = from_millis(millis)
    found = list(re.finditer(r"(?:^|, )current-snapshot-summary=(?=\{)", properties))
    if len(found) != 1:
        return Snapshot(at=at)
    try:
        summary, _ = json.JSONDecoder().raw_decode(properties, found[0].end())
    except ValueError:
        return Snapshot(at=at)
    return replace(snapshot_of(summary), at=at)


def snapshot_of(summary: dict[str, Any]) -> Snapshot:
    """Counts of an Iceberg snapshot summary (table spec, "Optional Snapshot Summary Fields").

    `total-records` counts the data files' rows; with delete files in play it is more than the table holds, so the row
    count is unknown then.
    """

    def number(key: str) -> int | None:
        value = summary.get(key)
        return int(value) if isinstance(value, str | int) and str(value).isdigit() else None

    deletes = [number("total-position-deletes"), number("total-equality-deletes"), number("total-delete-files")]
    rows = None if any(deletes) else number("total-records")
    return Snapshot(row_count=rows, byte_count=number("total-files-size"))


def from_millis(value: str | int) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(value) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_JAVA_DATE = re.compile(r"\w{3} (\w{3}) (\d\d) (\d\d):(\d\d):(\d\d) (\S+) (\d{4})")


def created(text: str | None, zone: ZoneInfo | None) -> datetime | None:
    """Read Java's `Fri Nov 20 23:09:20 UTC 2026`; None where the zone is abbreviated and `zone` does not tell it."""
    found = _JAVA_DATE.fullmatch(text or "")
    if found is None or found[1] not in _MONTHS:
        return None
    month, day, hour, minute, second, name, year = found.groups()
    if name in ("UTC", "GMT", "Z"):
        place: Any = UTC
    elif zone is not None:
        place = zone
    else:
        return None
    at = datetime(
        int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second), tzinfo=place
    ).astimezone(UTC)
    return at if at.year > 1970 else None  # the epoch stands for "not known"


def described(rows: Iterable[tuple[Any, ...]], *, zone: ZoneInfo | None = None) -> Information:
    """Read DESCRIBE TABLE EXTENDED: columns first, then `# Detailed Table Information` with one row a key."""
    listed = [tuple("" if v is None else str(v) for v in row[:3]) for row in rows]
    columns: list[Column] = []
    for name, kind, note in listed:
        if not kind:
            break
        columns.append(Column(name=name, type=kind, description=note or None))
    details: dict[str, str] = {}
    inside = False
    for name, kind, note in listed[len(columns) :]:
        if name == "# Detailed Table Information" and not kind:
            inside, details = True, {}
        elif inside and not note:
            details.setdefault(name, kind)
    return _from_details(details, tuple(columns), zone)


def _from_details(details: dict[str, str], columns: tuple[Column, ...], zone: ZoneInfo | None) -> Information:
    kind = details.get("Type") or "TABLE"
    properties = details.get("Table Properties", "").removeprefix("[").removesuffix("]")
    found = Information(
        kind=kind,
        provider=details.get("Provider"),
        comment=details.get("Comment") or None,
        view_text=details.get("View Text") or None,
        created_at=created(details.get("Created Time"), zone),
        columns=columns,
    )
    if found.is_view:
        return found
    if found.provider == "iceberg":
        at = _single(properties, "current-snapshot-id")
        if at == "none":
            return replace(found, snapshot=Snapshot(row_count=0, byte_count=0))
        return replace(found, snapshot_id=int(at) if at and at.isdigit() else None)
    measured = re.fullmatch(r"(\d+) bytes(?:, (\d+) rows)?", details.get("Statistics", ""))
    return replace(found, **statistics(measured[1], measured[2])) if measured else found
