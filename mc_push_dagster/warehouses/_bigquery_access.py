"""Tries each capability by itself with statements that are only checked, never run (`mc-push doctor`)."""

from __future__ import annotations

from collections.abc import Iterator

from mc_push_dagster.errors import FixAccess
from mc_push_dagster.model import Gap
from mc_push_dagster.warehouses import _bigquery_sql as sql
from mc_push_dagster.warehouses._bigquery_catalog import Catalog
from mc_push_dagster.warehouses._bigquery_grants import grant_for, running
from mc_push_dagster.warehouses._bigquery_session import UNREADABLE, Denied
from mc_push_dagster.warehouses._bigquery_settings import BigQueryOptions
from mc_push_dagster.warehouses._bigquery_sql import Place
from mc_push_dagster.warehouses.base import Access, Capability


def _probes(options: BigQueryOptions) -> tuple[tuple[Capability, tuple[str, ...], str], ...]:
    """Each capability, the views it reads, and what is lost without them."""
    jobs = sql.JOB_VIEWS[options.jobs]
    log = jobs if options.jobs == "user" else "JOBS_BY_PROJECT"
    return (
        (
            Capability.SCHEMA,
            ("TABLES", "COLUMNS", "COLUMN_FIELD_PATHS"),
            "without it only datasets are tried one by one",
        ),
        (Capability.VIEW_TEXT, ("VIEWS",), "without it views have no text and no lineage"),
        (Capability.DESCRIPTIONS, ("TABLE_OPTIONS",), "without it descriptions of tables are absent"),
        (Capability.TAGS, ("TABLE_OPTIONS",), "without it labels are absent"),
        (Capability.ROW_COUNT, ("TABLE_STORAGE",), "without it tables are asked one by one, up to table_get_limit"),
        (Capability.BYTE_COUNT, ("TABLE_STORAGE",), "without it tables are asked one by one, up to table_get_limit"),
        (
            Capability.DATA_CHANGE,
            ("TABLE_STORAGE",),
            "without it changes come from lastModifiedTime, which labels move",
        ),
        (Capability.QUERY_LOG, (log,), "without it there is no query log"),
        (Capability.TABLE_LINEAGE, (jobs, "SCHEMATA_LINKS"), "without it lineage comes from SQL alone"),
        (Capability.DRIFT, ("TABLES", "COLUMNS"), "without it changed schemas are found by full reads only"),
    )


def check(catalog: Catalog, options: BigQueryOptions) -> Iterator[Access]:
    """One answer a capability: granted if every place grants it."""
    places, problem = _places(catalog)
    answers: dict[tuple[Place, str], str | None] = {}
    for capability, views, otherwise in _probes(options):
        denied = [problem] if problem is not None else []
        for place in places:
            for view in views:
                if (place, view) not in answers:
                    answers[place, view] = _denied(catalog, place, view)
                if (said := answers[place, view]) is not None:
                    denied.append(said)
        if denied:
            yield Access(capability=capability, granted=False, detail=f"{'; '.join(denied)}; {otherwise}")
        else:
            where = ", ".join(map(str, places))
            yield Access(capability=capability, granted=True, detail=f"{' and '.join(views)} can be read in {where}")


def _places(catalog: Catalog) -> tuple[list[Place], str | None]:
    """Where to look, and why nowhere."""
    places: list[Place] = []
    problem: str | None = None
    for project in catalog.projects():
        for place in catalog.places(project):
            if isinstance(place, Gap):
                problem = f"{place.subject}: {place.reason}"
            else:
                places.append(place)
    if not places and problem is None:
        problem = "no dataset in scope can be seen: set `projects` and `regions`"
    return places, problem


def _denied(catalog: Catalog, place: Place, view: str) -> str | None:
    reader = catalog.reader
    try:
        reader.dry_run(sql.probe(place, view), place)
    except UNREADABLE as error:
        if isinstance(error, Denied) and "bigquery.jobs.create" in str(error):
            return f"{error}; {running(reader.project, reader.email)}"
        grant = f"; {grant_for(view, place, reader.email)}" if isinstance(error, FixAccess) else ""
        return f"{error}{grant}"
    return None
