"""BigQuery's catalog: places, tables, columns, fingerprints, each a stream in order, what is unreadable as gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import blake2b
from itertools import chain, groupby
from typing import Any, TypeVar

from mc_push_dagster.errors import FixAccess, WarehouseUnavailable
from mc_push_dagster.model import Fingerprint, Gap, Scope, TableColumns, TableRef, TableSnapshot
from mc_push_dagster.warehouses import _bigquery_rows as rows
from mc_push_dagster.warehouses import _bigquery_sql as sql
from mc_push_dagster.warehouses._bigquery_grants import grant_for
from mc_push_dagster.warehouses._bigquery_merge import Beside, merged
from mc_push_dagster.warehouses._bigquery_session import UNREADABLE, Denied, Missing, Reader, Row, TooMuch
from mc_push_dagster.warehouses._bigquery_settings import BigQueryOptions
from mc_push_dagster.warehouses._bigquery_sql import Place

Item = TypeVar("Item")
Build = Callable[[Place, sql.Chosen], sql.Statement]
Read = Callable[[Place], Iterator[Item | Gap]]


class Catalog:
    """Reads the catalog of some projects with one reader."""

    def __init__(self, reader: Reader, scope: Scope, options: BigQueryOptions, *, biglake: bool = False) -> None:
        self.reader = reader
        self._options = options
        self.chosen = sql.Chosen(scope=scope, fold=options.shards == "fold", biglake=biglake)
        self._datasets: dict[str, dict[str, str]] = {}
        self._unasked = 0

    # Places

    def projects(self) -> list[str]:
        """The projects in scope, in order."""
        named = self._options.projects or (self.reader.project,)
        return sorted({name for name in named if self.chosen.scope.covers_database(name)})

    def places(self, project: str) -> Iterator[Place | Gap]:
        """The regions of one project: as configured, or where it has datasets."""
        if self._options.regions:
            yield from (Place(project, region) for region in sorted(set(self._options.regions)))
            return
        try:
            found = self._listed(project)
        except UNREADABLE as error:
            yield Gap(subject=project, reason=f"{error}; its datasets cannot be listed: set `regions`")
            return
        yield from (Place(project, region) for region in sorted({region for region in found.values() if region}))

    def _listed(self, project: str) -> dict[str, str]:
        if project not in self._datasets:
            self._datasets[project] = self.reader.datasets(project)
        return self._datasets[project]

    # Streams

    def tables(self) -> Iterator[TableSnapshot | Gap]:
        for project in self.projects():
            seen: set[str] = set()
            explained: set[str] = set()
            for item in _assets(self._merged(project, self._tables_of, "TABLES", key=lambda found: found.key)):
                if isinstance(item, Gap):
                    explained.add(item.subject)
                    yield item
                    continue
                seen.add(item[0].row["table_schema"])
                yield from _snapshot(project, item)
            yield from self._missing(project, seen, explained)
        yield from self._unnamed_projects()
        if self._unasked:
            yield Gap(
                subject=f"rows and bytes of {self._unasked} tables",
                reason=f"TABLE_STORAGE does not show them, and {self.reader.counts.table_gets} were asked one by one "
                f"(table_get_limit is {self._options.table_get_limit}); some may have been denied",
            )

    def columns(self) -> Iterator[TableColumns | Gap]:
        for project in self.projects():
            last: TableRef | None = None
            for item in self._merged(project, self._columns_of, "COLUMNS", key=_ref, explain=False):
                if item.ref is None or item.ref != last:  # a replica of a dataset shows in a second region, too
                    yield item
                last = item.ref or last

    def fingerprints(self) -> Iterator[Fingerprint | Gap]:
        for project in self.projects():
            found = list(self._merged(project, self._digests_of, "COLUMNS", key=str))
            gaps = [item for item in found if isinstance(item, Gap)]
            yield from gaps
            if not gaps:  # a digest of half a project would look like a change
                parts = "\n".join(item for item in found if isinstance(item, str))
                yield Fingerprint(database=project, digest=blake2b(parts.encode(), digest_size=16).hexdigest())

    def _merged(
        self, project: str, read: Read[Item], view: str, *, key: Callable[[Item], Any], explain: bool = True
    ) -> Iterator[Item | Gap]:
        """What `read` gives for each place of a project, as one ordered stream."""
        streams: list[Iterator[Item | Gap]] = []
        for place in self.places(project):
            if isinstance(place, Place):
                streams.append(self._read(place, read, view))
            elif explain:
                yield place
        yield from merged(streams, key=key)

    # One place

    def _read(self, place: Place, read: Read[Item], view: str) -> Iterator[Item | Gap]:
        """What `read` gives for a region; where that may not be read as a whole, dataset by dataset."""
        begun = False
        try:
            for item in read(place):
                begun = True
                yield item
            return
        except UNREADABLE as error:
            problem = error
        names: list[str] = []
        if not begun and place.dataset is None and isinstance(problem, Denied | TooMuch):
            with suppress(*UNREADABLE):
                listed = self._listed(place.project)
                names = sorted(name for name, region in listed.items() if region == place.region)
        if not names:
            yield Gap(subject=str(place), reason=self._why(problem, view, place))
        for name in names:
            if self.chosen.scope.covers_schema(place.project, name):
                yield from self._read(Place(place.project, place.region, name), read, view)

    def _why(self, error: FixAccess | WarehouseUnavailable | Exception, view: str, place: Place) -> str:
        if isinstance(error, Denied):
            return f"{error}; {grant_for(view, place, self.reader.email)}"
        if isinstance(error, Missing):
            where = "dataset" if place.dataset is not None else "project or region"
            return f"{error}; the {where} does not exist, was dropped meanwhile, or may not be seen"
        return str(error)

    def _tables_of(self, place: Place) -> Iterator[rows.Found | Gap]:
        beside = self._beside(place)
        for row in self.reader.rows(sql.tables(place, self.chosen), place):
            yield rows.Found(
                row=row,
                measures=self._measures(place.project, row, beside.get("TABLE_STORAGE")),
                options=tuple(beside["TABLE_OPTIONS"].of(rows.key(row))),
                view_definition=self._text(row, beside["VIEWS"]) if row["table_type"] == "VIEW" else None,
            )
        yield from chain.from_iterable(reading.gaps for reading in beside.values())

    def _beside(self, place: Place) -> dict[str, Beside]:
        builds: dict[str, Build] = {"TABLE_STORAGE": sql.storage, "TABLE_OPTIONS": sql.options, "VIEWS": sql.views}

        def reading(view: str) -> Beside:
            return Beside(
                lambda: self.reader.rows(builds[view](place, self.chosen), place),
                subject=place.view(view).replace("`", ""),
                why=lambda error: self._why(error, view, place),
            )

        # TABLE_STORAGE knows regions only (docs, "TABLE_STORAGE view", section on scope).
        return {view: reading(view) for view in builds if view != "TABLE_STORAGE" or place.dataset is None}

    @staticmethod
    def _text(row: Row, views: Beside) -> str | None:
        return next((str(found["view_definition"]) for found in views.of(rows.key(row))), None)

    def _measures(self, project: str, row: Row, storage: Beside | None) -> rows.Measures:
        """From TABLE_STORAGE; what it does not show (snapshots, clones, all of it without the right) is asked for."""
        if row["table_type"] not in rows.MEASURED:
            return rows.Measures()
        biglake = rows.is_biglake(row)
        for found in storage.of(rows.key(row)) if storage is not None else ():
            return rows.stored(found, biglake=biglake)
        if self.reader.counts.table_gets >= self._options.table_get_limit:
            self._unasked += 1
            return rows.Measures()
        try:
            return rows.asked(*self.reader.measures(project, row["table_schema"], row["table_name"]), biglake=biglake)
        except UNREADABLE:
            self._unasked += 1
            return rows.Measures()

    def _columns_of(self, place: Place) -> Iterator[TableColumns | Gap]:
        found = self.reader.rows(sql.columns(place, self.chosen), place)
        for name, table in groupby(found, key=rows.key):
            ref = TableRef(database=place.project, schema=name[0], name=name[1])
            columns = tuple(rows.column(row) for row in table if row["column_name"])
            if columns:
                yield TableColumns(ref=ref, columns=columns)
            else:
                yield Gap(subject=str(ref), reason="it has no columns", ref=ref)

    def _digests_of(self, place: Place) -> Iterator[str]:
        for row in self.reader.rows(sql.fingerprint(place, self.chosen), place):
            if row["column_count"]:
                yield f"{place}:{row['column_count']}:{row['digest']}"

    def _missing(self, project: str, seen: set[str], explained: set[str]) -> Iterator[Gap]:
        """Views hide what may not be seen: a dataset asked for by name and not there is a gap."""
        found = {name.lower() for name in seen}
        alone = len(self.projects()) == 1
        asked = {
            pattern.schema
            for pattern in self.chosen.scope.include
            if pattern.matches_database(project)
            and (alone or not set("*?") & set(pattern.database))
            and not set("*?") & set(pattern.schema)
        }
        for name in sorted(name for name in asked if name.lower() not in found):
            subject = f"{project}.{name}"
            reason = None if subject in explained else self._absence(project, name)
            if reason is not None:
                yield Gap(subject=subject, reason=reason)

    def _unnamed_projects(self) -> Iterator[Gap]:
        """A project that the scope asks for by name and that is not read at all."""
        read = {name.lower() for name in self.projects()}
        asked = {pattern.database for pattern in self.chosen.scope.include if not set("*?") & set(pattern.database)}
        for name in sorted(
            name for name in asked if name.lower() not in read and self.chosen.scope.covers_database(name)
        ):
            yield Gap(subject=name, reason="the scope names this project, but it is not read: add it to `projects`")

    def _absence(self, project: str, dataset: str) -> str | None:
        """Why a dataset shows no table in scope; None if that is in order."""
        try:
            region = self.reader.dataset_region(project, dataset)
        except UNREADABLE as error:
            return self._why(error, "TABLES", Place(project, "", dataset))
        if self._options.regions and region not in self._options.regions:
            return f"it is in {region}: add that to `regions`"
        return None


def _assets(found: Iterator[rows.Found | Gap]) -> Iterator[list[rows.Found] | Gap]:
    """Group the shards of an asset; a gap between them waits for the group's end."""
    shards: list[rows.Found] = []
    gaps: list[Gap] = []
    for item in found:
        if isinstance(item, Gap):
            gaps.append(item)
            continue
        if shards and item.key == shards[-1].key:
            continue  # a replica shows in a second region
        if shards and item.key[:2] != shards[-1].key[:2]:
            yield shards
            shards = []
        if not shards:
            yield from gaps
            gaps = []
        shards.append(item)
    if shards:
        yield shards
    yield from gaps


def _ref(table: TableColumns | Gap) -> TableRef | None:
    return table.ref


def _snapshot(project: str, shards: list[rows.Found]) -> Iterator[TableSnapshot | Gap]:
    try:
        yield rows.snapshot(project, shards)
    except ValueError as error:
        bare = [*shards[:-1], rows.Found(row=shards[-1].row, measures=shards[-1].measures)]
        snapshot = rows.snapshot(project, bare)
        yield Gap(subject=f"description and labels of {snapshot.ref}", reason=f"TABLE_OPTIONS: {error}")
        yield snapshot
