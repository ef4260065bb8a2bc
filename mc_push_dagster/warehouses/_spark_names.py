"""How Spark's names (catalog, database, table) become the three parts that Monte Carlo knows.

Three documents, three shapes. The IOMETE guide says two-part names, `my_database.my_table`, and its example pushes
`database="my_database", schema="default"`. The vendor's Hive template pushes the database twice. A lakehouse with
several catalogs needs all three parts. Whichever is chosen must be the same for catalog, lineage and logs, so it
lives here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.model import TableRef

SESSION_CATALOG = "spark_catalog"
"""The default catalog; "implicit and should not be included in queries" (IOMETE guide, FAQs)."""

Shape = Literal["iomete", "hive", "catalog"]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A namespace, under the names it is pushed with; sorts as the contract wants its tables."""

    database: str
    schema: str
    catalog: str
    namespace: str

    def ref(self, table: str) -> TableRef:
        return TableRef(database=self.database, schema=self.schema, name=table)


@dataclass(frozen=True, slots=True)
class Names:
    """One of the shapes.

    `iomete`: database = the Spark database, schema = `default`. `hive`: database = schema = the Spark database.
    `catalog`: database = the catalog, schema = the Spark database. In the first two, catalogs other than
    `spark_catalog` keep three parts, as queries write them.
    """

    shape: Shape = "iomete"
    home: str = SESSION_CATALOG
    """The catalog that queries do not name."""
    others: tuple[str, ...] = ()
    """Further catalogs that are read."""

    def place(self, catalog: str, namespace: str) -> Place:
        if self.shape == "catalog" or catalog != self.home:
            return Place(catalog, namespace, catalog, namespace)
        return Place(namespace, "default" if self.shape == "iomete" else namespace, catalog, namespace)

    def ref(self, catalog: str, namespace: str, table: str) -> TableRef:
        return self.place(catalog, namespace).ref(table)

    def of_parts(self, parts: list[str]) -> TableRef | None:
        """The table of a name as plans write it: two parts or three (a nested namespace has more)."""
        if len(parts) < 2:
            return None
        if len(parts) == 2:
            return self.ref(self.home, parts[0], parts[1])
        return self.ref(parts[0], ".".join(parts[1:-1]), parts[-1])

    def written(self, ref: TableRef) -> TableRef:
        """Catalog, database and table of what is pushed as `ref`."""
        if self.shape == "catalog" or ref.database in self.others:
            return ref
        return TableRef(database=self.home, schema=ref.database, name=ref.name)

    def pushed(self, written: TableRef) -> TableRef:
        """What is pushed for a table by its catalog, database and name."""
        return self.ref(written.database, written.schema, written.name)


def distinct(places: list[Place]) -> list[Place]:
    """The places in order.

    Raises:
        FixConfiguration: if two namespaces would be pushed under one name.
    """
    ordered = sorted(places)
    for one, other in pairwise(ordered):
        if (one.database, one.schema) == (other.database, other.schema):
            raise FixConfiguration(
                f"{one.catalog}.{one.namespace} and {other.catalog}.{other.namespace} would both be pushed as "
                f"{one.database}.{one.schema}; set `names: catalog`"
            )
    return ordered
