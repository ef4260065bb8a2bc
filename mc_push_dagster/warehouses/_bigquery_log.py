"""BigQuery's job history: the query log, and the lineage that jobs and shares report themselves."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import timedelta

from mc_push_dagster.errors import FixAccess
from mc_push_dagster.model import Gap, LineageEdge, QueryRecord, TableRef, Window
from mc_push_dagster.warehouses import _bigquery_rows as rows
from mc_push_dagster.warehouses import _bigquery_sql as sql
from mc_push_dagster.warehouses._bigquery_catalog import Catalog
from mc_push_dagster.warehouses._bigquery_grants import grant_for
from mc_push_dagster.warehouses._bigquery_session import UNREADABLE, Denied
from mc_push_dagster.warehouses._bigquery_settings import BigQueryOptions
from mc_push_dagster.warehouses._bigquery_sql import Place


class JobLog:
    """Reads the jobs of some projects and regions."""

    def __init__(self, catalog: Catalog, options: BigQueryOptions) -> None:
        self._catalog = catalog
        self._reader = catalog.reader
        self._options = options
        self._longest = timedelta(hours=options.longest_job_hours)

    def queries(self, window: Window) -> Iterator[QueryRecord]:
        """The queries that ended in `window`, of all places merged by their end.

        Raises:
            FixAccess: if the log of a place may not be read.
            WarehouseUnavailable: if a log cannot be read to its end.
        """
        places = sorted(set(self._logs(window)), key=str)
        streams = [self._queries_of(place, window) for place in places]
        yield from heapq.merge(*streams, key=lambda record: (record.ended_at, record.query_id or ""))

    def _logs(self, window: Window) -> Iterator[Place]:
        """Where to read texts: JOBS_BY_FOLDER and JOBS_BY_ORGANIZATION have none, but name the projects that do."""
        for place in self._places():
            if self._options.jobs in ("project", "user"):
                yield place
                continue
            view = sql.JOB_VIEWS[self._options.jobs]
            statement = sql.job_projects(place, window, view=view, longest=self._longest)
            try:
                for row in self._reader.rows(statement, place):
                    yield Place(row["project_id"], place.region)
            except Denied as error:
                raise self._denied(error, view, place) from error

    def _places(self) -> Iterator[Place]:
        for project in self._catalog.projects():
            for place in self._catalog.places(project):
                if isinstance(place, Gap):
                    raise FixAccess(f"BigQuery's query log: {place.reason}")
                yield place

    def _queries_of(self, place: Place, window: Window) -> Iterator[QueryRecord]:
        view = sql.JOB_VIEWS["user" if self._options.jobs == "user" else "project"]
        statement = sql.queries(
            place,
            window,
            view=view,
            own_label=self._options.job_label,
            longest=self._longest,
            chosen=self._options.query_log,
        )
        try:
            for row in self._reader.rows(statement, place):
                yield rows.query(row, place.region)
        except Denied as error:
            raise self._denied(error, view, place) from error

    def _denied(self, error: Exception, view: str, place: Place) -> FixAccess:
        return FixAccess(f"BigQuery's query log: {error}; {grant_for(view, place, self._reader.email)}")

    def lineage(self, window: Window) -> Iterator[LineageEdge | Gap]:
        """Edges of the jobs that ended in `window` into tables in scope, and the standing ones of shared datasets."""
        for project in self._catalog.projects():
            for place in self._catalog.places(project):
                if isinstance(place, Gap):
                    yield place
                    continue
                yield from self._of_jobs(place, window)
                yield from self._of_shares(place)

    def _of_jobs(self, place: Place, window: Window) -> Iterator[LineageEdge | Gap]:
        view = sql.JOB_VIEWS[self._options.jobs]
        chosen = self._catalog.chosen
        statement = sql.lineage(place, window, view=view, longest=self._longest, fold=chosen.fold)
        projects = set(self._catalog.projects())
        try:
            biglake = self._biglake(place) if chosen.biglake else None
            for row in self._reader.rows(statement, place):
                edge = rows.edge(row)
                into = edge.destination
                ours = into.database in projects and chosen.scope.covers(into)
                if ours and edge.source != into and (biglake is None or into in biglake):
                    yield edge
        except UNREADABLE as error:
            yield self._gap("jobs", error, view, place)

    def _biglake(self, place: Place) -> set[TableRef]:
        """The Iceberg tables of a place: jobs do not say of what kind the tables are."""
        found = self._reader.rows(sql.tables(place, self._catalog.chosen), place)
        return {TableRef(database=place.project, schema=row["table_schema"], name=row["asset_name"]) for row in found}

    def _of_shares(self, place: Place) -> Iterator[LineageEdge | Gap]:
        try:
            for row in self._reader.rows(sql.shares(place, self._catalog.chosen), place):
                yield rows.share(place.project, row)
        except UNREADABLE as error:
            yield self._gap("shares", error, "SCHEMATA_LINKS", place)

    def _gap(self, what: str, error: Exception, view: str, place: Place) -> Gap:
        grant = f"; {grant_for(view, place, self._reader.email)}" if isinstance(error, Denied) else ""
        return Gap(subject=f"lineage from {what} of {place}", reason=f"{error}{grant}")
