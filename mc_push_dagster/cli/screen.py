"""What people and machines see: tables and bars on a terminal, one JSON document with `--json`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from typing import Any

import click
import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from mc_push_dagster.errors import PushIncomplete, Rejected
from mc_push_dagster.flow.report import PushReport, TableChange
from mc_push_dagster.model import Gap, Window

# Names come from warehouses: what looks like rich's markup or an emoji's code in them is part of the name.
out = Console(highlight=False, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)

SHOWN = 10
"""So many gaps, refusals and changes are shown one by one."""
NOUNS = ("tables", "views", "columns", "edges", "column_edges", "queries")
"""The counts that say what was sent, in this order."""


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
        disable=quiet or not on_terminal(),
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
    """Print one JSON document on standard output, in UTF-8 whatever the terminal's encoding."""
    click.echo(orjson.dumps(plain(value), option=orjson.OPT_INDENT_2))


def error_document(error: Exception) -> dict[str, Any]:
    """An error for machines: its kind, its sentence, and what it carries."""
    message = error.format_message() if isinstance(error, click.ClickException) else str(error)
    document: dict[str, Any] = {"kind": type(error).__name__, "message": message}
    if isinstance(error, PushIncomplete):
        document |= {"push_id": error.push_id, "invocation_ids": error.invocation_ids}
    if isinstance(error, Rejected):
        document |= {"details": error.details}
    return document


def on_terminal() -> bool:
    """Whether somebody looks on; `FORCE_COLOR` in a CI's environment makes rich believe so everywhere."""
    return sys.stderr.isatty()


def line(text: str, style: str = "") -> None:
    """Print one line as it is: a name or a command is not cut in two at the terminal's edge."""
    out.print(Text(text, style=style), soft_wrap=True)


def quantity(count: int, plural: str) -> str:
    """`1 query`, `2,000 column edges`."""
    noun = plural.replace("_", " ")
    if count == 1:
        noun = noun.removesuffix("ies") + "y" if noun.endswith("ies") else noun.removesuffix("s")
    return f"{count:,} {noun}"


def sized(count: int) -> str:
    """Bytes in words: `1.2 MB`."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pushed:
    """One push that a command made, and what it was to carry."""

    what: str
    """catalog, lineage, query log, manifest."""
    report: PushReport
    window: Window | None = None

    @property
    def label(self) -> str:
        return self.what if self.window is None else f"{self.what} {self.window.start:%m-%d %H:%M}"

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {"what": self.what, "window": self.window, **plain(self.report)}


def show_reports(pushes: Iterable[Pushed], *, title: str) -> None:
    """Print what pushes did: counts, requests, bytes, invocation ids, and whatever did not go as wished."""
    pushes = list(pushes)
    line(title, "bold")
    table = Table(show_edge=False, pad_edge=False)
    for heading, justify in (("what", "left"), ("sent", "left"), ("requests", "right"), ("bytes", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for push in pushes:
        report = push.report
        size = sized(report.raw_bytes) if report.requests else "-"
        table.add_row(push.label, sent(report), f"{report.requests:,}", size)
    out.print(table)
    ids = [(push.label, i) for push in pushes for of_feed in push.report.invocation_ids.values() for i in of_feed]
    if ids:
        out.print("\nInvocation ids")
        width = max(len(label) for label, _ in ids)
        for label, i in ids[:SHOWN]:
            line(f"{label:<{width}}  {i}")
        manifests = [push.report.manifest for push in pushes if push.report.invocation_ids and push.report.manifest]
        _and_more(len(ids), f"in {', '.join(manifests)}" if manifests else "invocation ids")
    for push in pushes:
        show_troubles(push.label, push.report)


def sent(report: PushReport) -> str:
    """What was sent in words, or why nothing was."""
    counts = report.counts
    said = ", ".join(quantity(counts[noun], noun) for noun in NOUNS if counts.get(noun))
    if not report.requests:
        why = {
            "unchanged": "tables and views are unchanged",
            "queries_seen_before": "queries were sent before",
            "statements": "statements were read",
        }
        known = [f"{counts[noun]:,} {words}" for noun, words in why.items() if counts.get(noun)]
        return f"nothing new ({', '.join(known)})" if known else "nothing new"
    if late := counts.get("late_queries"):
        said += f" ({late:,} of them late)"
    return said or "-"


def show_troubles(label: str, report: PushReport) -> None:
    """Print gaps, events set aside and what was held back; nothing where all went well."""
    counts = report.counts
    if resumed := counts.get("resumed_requests"):
        line(f"{label}: {quantity(resumed, 'requests')} of a push that had broken off arrived first.")
    if held := report.held_back:
        said = (
            f"Volume and freshness of {quantity(held.tables, 'tables')} were not sent again: they went out in the hour "
            f"from {held.hour:%H:%M} UTC already (push {', '.join(held.push_ids)}). Monte Carlo counts one sample an "
            "hour."
        )
        out.print(Text(said, style="yellow"))
    for change in report.changes[:SHOWN]:
        line(f"Schema {change.change}: {change.ref}{_columns(change)}")
    _and_more(counts.get("changes", len(report.changes)), "schema changes")
    if low := counts.get("edges_below_confidence"):
        line(f"{label}: {quantity(low, 'edges')} kept in the ledger only: below the minimum confidence.")
    for reason, number in sorted(_skipped(counts), key=lambda item: -item[1]):
        line(f"{label}: {quantity(number, 'statements')} not used in full: {reason}", "yellow")
    show_gaps(report.gaps, counts.get("gaps", len(report.gaps)))
    for aside in report.set_aside[:SHOWN]:
        line(f"Not accepted: {aside.feed.value.lower()} of {aside.name}: {aside.reason}", "red")
    _and_more(counts.get("set_aside", len(report.set_aside)), "that were not accepted")
    if report.maybe_twice:
        line(
            f"{label}: {quantity(report.maybe_twice, 'requests')} got no answer and went out again: Monte Carlo may "
            "hold them twice.",
            "yellow",
        )


def show_gaps(gaps: Sequence[Gap], number: int) -> None:
    """Print the first of `number` gaps by name."""
    for gap in gaps[:SHOWN]:
        line(f"Not read: {gap.subject}: {gap.reason}", "yellow")
    _and_more(number, "that could not be read")


def _skipped(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    sign = "statements_skipped: "
    return [(noun.removeprefix(sign), number) for noun, number in counts.items() if noun.startswith(sign)]


def _columns(change: TableChange) -> str:
    parts = (
        *(f"+ {name}" for name in change.columns_added),
        *(f"- {name}" for name in change.columns_removed),
        *(f"new type of {name}" for name in change.columns_retyped),
    )
    return f" ({', '.join(parts[:SHOWN])}{', ...' if len(parts) > SHOWN else ''})" if parts else ""


def _and_more(number: int, what: str) -> None:
    if number > SHOWN:
        line(f"... and {number - SHOWN:,} more {what}")
