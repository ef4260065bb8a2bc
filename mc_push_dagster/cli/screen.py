"""What people and machines see: tables and bars on a terminal, one JSON document with `--json`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mc_push_dagster.flow.report import PushReport

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class Bars:
    """Progress bars on standard error, one a step; a `flow.progress.Progress`."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def advance(self, step: str, done: int, total: int | None = None) -> None:
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step, total=total)
        self._progress.update(self._tasks[step], advance=done, total=total)


@contextmanager
def bars(*, quiet: bool) -> Iterator[Bars]:
    """Show progress on standard error while work goes on; nothing if `quiet` or where no terminal looks on."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=quiet or not err.is_terminal,
    ) as progress:
        yield Bars(progress)


def plain(value: Any) -> Any:
    """Turn dataclasses, enums, times and mappings into what JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(plain(k)): plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [plain(v) for v in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    print(orjson.dumps(plain(value), option=orjson.OPT_INDENT_2).decode())


def sized(count: int) -> str:
    """Bytes in words: `1.2 MB`."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def show_reports(reports: Iterable[PushReport], *, title: str) -> None:
    """Print what pushes did: counts, requests, bytes, invocation ids, and whatever did not go as wished."""
    reports = list(reports)
    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    for heading, justify in (("feed", "left"), ("sent", "left"), ("requests", "right"), ("bytes", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    table.add_column("invocation ids", overflow="fold")
    for report in reports:
        feeds = ", ".join(feed.value.lower() for feed in report.events) or "nothing new"
        counts = ", ".join(f"{n:,} {noun.replace('_', ' ')}" for noun, n in report.counts.items() if n)
        ids = [i for each in report.invocation_ids.values() for i in each]
        shown = "\n".join(ids[:3]) + (f"\n... and {len(ids) - 3} more" if len(ids) > 3 else "")
        table.add_row(
            Text(feeds), Text(counts or "-"), f"{report.requests:,}", sized(report.raw_bytes), Text(shown or "-")
        )
    out.print(table)
    for report in reports:
        show_troubles(report)


def show_troubles(report: PushReport) -> None:
    """Print gaps, events set aside and what was held back; nothing where all went well."""
    if held := report.held_back:
        pushes = ", ".join(held.push_ids)
        out.print(
            Text(
                f"Volume and freshness of {held.tables:,} tables were not sent again: they went out in the hour from "
                f"{held.hour:%H:%M} UTC already (push {pushes}). Monte Carlo counts one sample an hour.",
                style="yellow",
            )
        )
    for gap in report.gaps[:10]:
        out.print(Text(f"Not read: {gap.subject}: {gap.reason}", style="yellow"))
    if len(report.gaps) > 10:
        out.print(Text(f"... and {len(report.gaps) - 10} more that could not be read", style="yellow"))
    for aside in report.set_aside[:10]:
        out.print(Text(f"Not accepted: {aside.feed.value.lower()} of {aside.name}: {aside.reason}", style="red"))
    if len(report.set_aside) > 10:
        out.print(Text(f"... and {len(report.set_aside) - 10} more that were not accepted", style="red"))
    if report.maybe_twice:
        out.print(
            Text(
                f"{report.maybe_twice} requests got no answer and were sent again: they may stand twice.",
                style="yellow",
            )
        )
