"""Which function answers which field of the schema; a field that is not named here is a key of its parent."""

from __future__ import annotations

from mc_push_dagster.sandbox.reading import Resolver
from mc_push_dagster.sandbox.resolvers import account, integrations, lineage, queries, tables

RESOLVERS: dict[str, Resolver] = {
    **account.RESOLVERS,
    **integrations.RESOLVERS,
    **lineage.RESOLVERS,
    **queries.RESOLVERS,
    **tables.RESOLVERS,
}
