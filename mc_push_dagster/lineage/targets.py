"""Which column of the destination each value goes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from mc_push_dagster.lineage.relations import STAR, Output, Table

if TYPE_CHECKING:
    from mc_push_dagster.lineage.reader import Reader


def target_columns(reader: Reader, table: Table, insert: exp.Expr, holder: exp.Expr) -> list[str] | None:
    """The columns an INSERT fills, in order: those it lists, else the table's own; None if neither is known."""
    if isinstance(insert.this, exp.Schema):
        return [reader.column_name(e) for e in insert.this.expressions]
    if insert.args.get("columns"):
        return [reader.column_name(e) for e in insert.args["columns"]]
    if not table.closed:
        return None
    fixed = _fixed_partitions(insert.args.get("partition") or holder.args.get("partition"))
    return [o.name for o in table.outputs() if o.name.lower() not in fixed]


def _fixed_partitions(partition: exp.Expr | bool | None) -> set[str]:
    """Partition columns whose value stands in the statement: the query does not give them."""
    if not isinstance(partition, exp.Expr):
        return set()
    return {e.this.name.lower() for e in partition.expressions if isinstance(e, exp.EQ)}


def assigned(
    outputs: Sequence[Output], targets: Sequence[str] | None, table: Table, *, by_name: bool = False
) -> list[tuple[Output, str]]:
    """Pair values with destination columns: by position as far as positions are known, else by name."""
    names = {o.name.lower(): o.name for o in table.outputs()} if table.closed else {}
    star = next((i for i, o in enumerate(outputs) if o.name == STAR), len(outputs))
    positional = targets is not None and not by_name and (star < len(outputs) or len(outputs) <= len(targets))
    pairs: list[tuple[Output, str]] = []
    for i, output in enumerate(outputs):
        name = targets[i] if positional and targets is not None and i < min(star, len(targets)) else output.name
        pairs.append((output, names.get(name.lower(), name)))
    return pairs
