"""PIVOT and UNPIVOT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from mc_push_dagster.lineage.relations import NOTHING, STAR, Derived, Masked, Output, Relation, Sources, renamed
from mc_push_dagster.lineage.scope import Entry, Scope
from mc_push_dagster.lineage.values import sources_of

if TYPE_CHECKING:
    from mc_push_dagster.lineage.reader import Reader


def pivoted(reader: Reader, scope: Scope, relation: Relation, pivot: exp.Expr) -> Relation:
    """The relation after one PIVOT or UNPIVOT, with the column aliases of the pivot."""
    inner = Scope(scope.ctes, scope, [Entry(names=(), relation=relation)])
    shaped = (
        _unpivot(reader, pivot, inner, relation)
        if pivot.args.get("unpivot")
        else _pivot(reader, pivot, inner, relation)
    )
    columns = reader.alias_columns(pivot)
    return renamed(shaped, columns) if columns else shaped


def _pivot(reader: Reader, pivot: exp.Expr, scope: Scope, relation: Relation) -> Relation:
    aggregates = list(pivot.args.get("using") or pivot.expressions)
    fields: Sequence[exp.Expr] = pivot.args.get("fields") or ([] if not pivot.args.get("using") else pivot.expressions)
    keys = {c.name.lower() for f in fields for c in _field_columns(f)}
    used = {c.name.lower() for a in aggregates for c in a.find_all(exp.Column)}
    values = [sources_of(reader, a, scope) for a in aggregates]
    for field in fields:
        reader.condition(field, scope)
    group = pivot.args.get("group")
    if group is not None:
        kept = [Output(g.alias_or_name, sources_of(reader, g, scope)) for g in group.expressions]
        return Derived([*kept, *_generated(pivot, aggregates, values)], [])
    rest = [o for o in relation.outputs() if o.name.lower() not in keys | used]
    made = _generated(pivot, aggregates, values)
    return Derived([*rest, *made], [] if relation.closed else [Masked(relation, frozenset(keys | used))])


def _field_columns(field: exp.Expr) -> list[exp.Column]:
    holder = field.this if isinstance(field, exp.In) else field
    return list(holder.find_all(exp.Column))


def _generated(pivot: exp.Expr, aggregates: Sequence[exp.Expr], values: Sequence[Sources]) -> list[Output]:
    """The columns that the pivot makes: one for each value and aggregate, the aggregates changing fastest."""
    names = [c.name.strip("'") for c in pivot.args.get("columns") or ()]
    everything = frozenset().union(*values) if values else NOTHING
    if names:
        return [Output(n, values[i % len(values)] if values else NOTHING) for i, n in enumerate(names)]
    labels = [a.alias for a in aggregates if a.alias]
    return [Output(label, everything) for label in labels] or [Output(STAR, everything)]


def _unpivot(reader: Reader, pivot: exp.Expr, scope: Scope, relation: Relation) -> Relation:
    taken: list[exp.Column] = []
    for field in pivot.args.get("fields") or ():
        taken += [c for e in field.expressions for c in e.find_all(exp.Column)]
    into = pivot.args.get("into")
    if into is not None or not taken:
        taken += [c for e in pivot.expressions for c in e.find_all(exp.Column)] if not taken else []
    sources = (
        frozenset().union(*(scope.column([reader.column_name(c)]) or NOTHING for c in taken)) if taken else NOTHING
    )
    labels, values = _unpivot_names(reader, pivot, into)
    ranks = _ranked(pivot, scope, reader, len(values))
    gone = frozenset(c.name.lower() for c in taken)
    rest = [o for o in relation.outputs() if o.name.lower() not in gone]
    made = [
        *(Output(n, NOTHING) for n in labels),
        *(Output(v, ranks[i] if ranks else sources) for i, v in enumerate(values)),
    ]
    return Derived([*rest, *made], [] if relation.closed else [Masked(relation, gone)])


def _ranked(pivot: exp.Expr, scope: Scope, reader: Reader, length: int) -> list[Sources]:
    """The sources of each value of `(v, w) FOR n IN ((a, b), (c, d))`: v is of a and c, w of b and d."""
    items = [e.unalias() for f in pivot.args.get("fields") or () for e in f.expressions]
    items = [e.this if isinstance(e, exp.PivotAlias) else e for e in items]
    tuples = [e.expressions for e in items if isinstance(e, exp.Tuple)]
    if length < 2 or not tuples or any(len(t) != length for t in tuples):
        return []
    return [
        frozenset().union(*(scope.column([reader.column_name(c)]) or NOTHING for c in column))
        for column in zip(*tuples, strict=True)
    ]


def _unpivot_names(reader: Reader, pivot: exp.Expr, into: exp.Expr | None) -> tuple[list[str], list[str]]:
    if into is not None:
        return [reader.column_name(into.this)], [reader.column_name(e) for e in into.expressions]
    labels = [reader.column_name(f.this) for f in pivot.args.get("fields") or () if isinstance(f, exp.In)]
    values: list[str] = []
    for expression in pivot.expressions:
        values += [reader.column_name(e) for e in expression.expressions or [expression]]
    return labels, values
