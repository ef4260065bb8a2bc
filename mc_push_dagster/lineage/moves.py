"""Files, and names that change: COPY, EXPORT, ALTER, DROP, USE."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from mc_push_dagster.lineage.flows import flow, listed_columns, query_flow
from mc_push_dagster.lineage.reader import Reader
from mc_push_dagster.lineage.relations import Output
from mc_push_dagster.lineage.steps import Drop, Rename, Step, Swap, Use
from mc_push_dagster.lineage.targets import assigned


def copy(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    """What COPY and COPY INTO read from tables or write to them; files and stages are no tables."""
    target = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    queries = [f for f in tree.args.get("files") or () if isinstance(f, exp.Query)]
    if isinstance(tree.this, exp.Query):
        yield query_flow(reader, tree.this, None)
        return
    if not isinstance(target, exp.Table):
        return
    stage = isinstance(target.this, (exp.Var, exp.Literal))
    if not tree.args.get("kind") and not stage:
        reader.read(reader.parts(target))  # COPY t TO file
        yield flow(reader, None, outputs=[])
        return
    if stage:
        for file in tree.args.get("files") or ():
            if isinstance(file, exp.Query):
                yield query_flow(reader, file, None)
            elif isinstance(file, exp.Table):
                reader.read(reader.parts(file))
                yield flow(reader, None, outputs=[])
        return
    table = reader.locate(reader.parts(target))
    pairs: list[tuple[Output, str]] = []
    for query in queries:
        outputs = reader.query(query, None, reader.ctes).outputs()
        pairs += assigned(outputs, listed_columns(tree.this, reader) or None, table)
    yield flow(reader, table.name, pairs)


def export(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    """What an export to files reads."""
    if isinstance(tree.this, exp.Query):
        yield query_flow(reader, tree.this, None)


def alter(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    """Renames and swaps."""
    if not isinstance(tree.this, exp.Table):
        return
    parts = reader.parts(tree.this)
    name = reader.locate(parts).name
    for action in tree.args.get("actions") or ():
        if isinstance(action, exp.AlterRename) and isinstance(action.this, exp.Table):
            new = reader.parts(action.this)
            # A bare new name stays in the old one's schema.
            yield Rename(old=name, new=(*name[:-1], *new) if len(new) == 1 else reader.locate(new).name)
        elif isinstance(action, exp.SwapTable):
            yield Swap(first=name, second=reader.locate(reader.parts(action.this)).name)


def drop(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    """Tables and views that go."""
    if tree.args.get("kind") in ("TABLE", "VIEW", "MATERIALIZED VIEW"):
        for table in tree.args.get("tables") or [tree.this]:
            if isinstance(table, exp.Table):
                yield Drop(name=reader.locate(reader.parts(table)).name)


def use(tree: exp.Expr, reader: Reader) -> Iterator[Step]:
    """New defaults of the session."""
    if not isinstance(tree.this, exp.Table):
        return
    kind = tree.args["kind"].name.upper() if tree.args.get("kind") is not None else ""
    parts = list(reader.parts(tree.this))
    if kind in ("ROLE", "WAREHOUSE", "SECONDARY") or not parts:
        return
    schema = kind in ("SCHEMA", "NAMESPACE") or (reader.rules.use_names_schema and kind != "CATALOG")
    if len(parts) > 1:
        yield Use(database=parts[-2], schema=parts[-1])
    else:
        yield Use(schema=parts[-1]) if schema else Use(database=parts[-1])
