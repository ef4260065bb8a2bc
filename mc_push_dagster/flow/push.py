"""One push from the warehouse to the last receipt: the seam that Dagster's assets and the command line call."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mc_push_dagster.flow.progress import Progress, Silent
from mc_push_dagster.flow.report import PushReport
from mc_push_dagster.model import TableRef, Window


class Pusher:
    """Walks the data's way for one warehouse and one target. Holds no open connection between calls."""

    def push_catalog(
        self,
        *,
        schema_only: Iterable[TableRef] | None = None,
        dry_run: bool = False,
        progress: Progress = Silent(),  # noqa: B008
    ) -> PushReport:
        """Read the catalog and push it; with `schema_only`, only those tables and without volume and freshness (drift).

        Raises:
            PushIncomplete: if some bodies were not accepted; it carries every id that was.
        """
        raise NotImplementedError

    def push_lineage(self, *, dry_run: bool = False, progress: Progress = Silent()) -> PushReport:  # noqa: B008
        """Derive table and column lineage and push what is new or about to expire."""
        raise NotImplementedError

    def push_query_logs(self, window: Window, *, dry_run: bool = False, progress: Progress = Silent()) -> PushReport:  # noqa: B008
        """Push the queries that ended in `window` and were not pushed yet, and late ones of the windows before."""
        raise NotImplementedError

    def collect(self, folder: Path, *, windows: Iterable[Window] = (), progress: Progress = Silent()) -> Path:  # noqa: B008
        """Write everything that a push would carry to a manifest in `folder`; nothing is sent."""
        raise NotImplementedError

    def push_manifest(self, manifest: Path, *, dry_run: bool = False, progress: Progress = Silent()) -> PushReport:  # noqa: B008
        """Push what `collect` wrote, perhaps on another machine."""
        raise NotImplementedError
