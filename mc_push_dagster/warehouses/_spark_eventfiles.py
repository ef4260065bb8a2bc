"""The files of a Spark event-log folder: which logs there are, and their lines by byte offset.

Three forms (Spark's "Monitoring" page): one file an application, `.inprogress` until it ends; a folder
`eventlog_v2_<app>` of rolling files `events_<n>_<app>`; either one compressed, of which zstd is the default from
Spark 4 on. Offsets are those of the uncompressed bytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

from mc_push_dagster.errors import FixConfiguration, MissingExtra

ROLLING = "eventlog_v2_"
_PART = re.compile(r"events_(\d+)_.+")
_FOREIGN = (".lz4", ".lzf", ".snappy")
_ZSTD = (".zstd", ".zst")


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of a log. `name` stays the same when Spark renames the finished file."""

    log: str
    name: str
    number: int
    size: int
    """Bytes as stored."""
    path: Any

    @property
    def is_zstd(self) -> bool:
        return self.name.endswith(_ZSTD)


class EventFolder:
    """A folder of event logs, local or any fsspec URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def logs(self, since: datetime) -> Iterator[list[LogFile]]:
        """The files of each log that was written to at or after `since`, in order.

        Raises:
            FixConfiguration: if the folder is missing or may not be read.
        """
        from upath import UPath

        root = UPath(self.url.removeprefix("file:") if self.url.startswith("file:/") else self.url)
        try:
            entries = sorted((p for p in root.iterdir() if not p.name.startswith(".")), key=lambda p: p.name)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise FixConfiguration(f"event log folder {self.url} cannot be read: {reason}") from error
        for entry in entries:
            parts = list(self._parts(entry))
            if parts and any(touched >= since.timestamp() for _, touched in parts):
                yield [file for file, _ in sorted(parts, key=lambda p: (p[0].number, p[0].name))]

    def _parts(self, entry: Any) -> Iterator[tuple[LogFile, float]]:
        if entry.is_dir():
            if entry.name.startswith(ROLLING):
                for path in entry.iterdir():
                    part = _PART.fullmatch(path.name)
                    if part is not None:
                        yield from _found(entry.name, path, int(part[1]))
            return
        yield from _found(entry.name.removesuffix(".inprogress"), entry, 1)


def _found(log: str, path: Any, number: int) -> Iterator[tuple[LogFile, float]]:
    name = path.name.removesuffix(".inprogress")
    if name.endswith(_FOREIGN):
        raise FixConfiguration(
            f"event log {path} is compressed with {name.rpartition('.')[2]}; "
            "set spark.eventLog.compression.codec=zstd, or spark.eventLog.compress=false"
        )
    try:
        status = path.stat()
    except FileNotFoundError:
        return  # renamed or cleaned up in between: the next read finds what is left
    # A store that does not tell the time (0) may have been written to just now.
    yield LogFile(log, name, number, status.st_size, path), status.st_mtime or math.inf


@contextmanager
def _opened(file: LogFile) -> Iterator[IO[bytes]]:
    if not file.is_zstd:
        with file.path.open("rb") as plain:
            yield plain
        return
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtra(what="a zstd-compressed event log", extra="spark") from error
    import io

    with file.path.open("rb") as packed:
        # A running server's last frame is not closed: what is flushed of it can be read.
        raw = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
        yield io.BufferedReader(raw, buffer_size=1 << 20)  # pyright: ignore[reportArgumentType]


def lines(file: LogFile, offset: int) -> Iterator[tuple[int, bytes]]:
    """Complete lines from `offset` on, each with its own offset; one still being written is left for the next time."""
    with _opened(file) as stream:
        _skip(stream, file, offset)
        for line in stream:
            if not line.endswith(b"\n"):
                return
            yield offset, line
            offset += len(line)


def lines_at(file: LogFile, offsets: Sequence[int]) -> dict[int, bytes]:
    """The lines that start at these offsets, in one pass."""
    found: dict[int, bytes] = {}
    with _opened(file) as stream:
        at = 0
        for offset in sorted(offsets):
            _skip(stream, file, offset, at)
            line = stream.readline()
            found[offset] = line
            at = offset + len(line)
    return found


def _skip(stream: IO[bytes], file: LogFile, to: int, at: int = 0) -> None:
    if not file.is_zstd:
        stream.seek(to)
        return
    while at < to:
        piece = stream.read(min(1 << 20, to - at))
        if not piece:
            return
        at += len(piece)
