"""Expressions: which columns a value is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from mc_push_dagster.lineage.relations import NOTHING, STAR, Source, Sources, Table
from mc_push_dagster.lineage.scope import Scope

if TYPE_CHECKING:
    from mc_push_dagster.lineage.reader import Reader

_LEAVES = (exp.Literal, exp.Identifier, exp.DataType, exp.Var, exp.Boolean, exp.Null, exp.Placeholder, exp.Parameter)
_TIME_UNITS = frozenset(
    {
        *(
            "year",
            "years",
            "quarter",
            "month",
            "months",
            "week",
            "weeks",
            "isoweek",
            "isoyear",
            "dayofweek",
            "dayofyear",
        ),
        *(
            "day",
            "days",
            "hour",
            "hours",
            "minute",
            "minutes",
            "second",
            "seconds",
            "epoch",
            "date",
            "time",
            "dow",
            "doy",
        ),
        *("millisecond", "milliseconds", "microsecond", "microseconds", "nanosecond"),
        *("mm", "dd", "yy", "yyyy", "hh", "mi", "ss", "qq", "ww"),
    }
)


def column_path(node: exp.Expr) -> list[str]:
    """The dotted names of a column with its struct fields, without array subscripts; empty for other expressions."""
    tail: list[str] = []
    while True:
        if isinstance(node, exp.Column):
            return [] if isinstance(node.this, exp.Star) else [p.name for p in node.parts] + tail
        if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Identifier):
            tail.insert(0, node.expression.name)
            node = node.this
        elif isinstance(node, exp.Paren) and tail:
            node = node.this
        else:
            return []


def sources_of(reader: Reader, node: exp.Expr, scope: Scope) -> Sources:
    """The columns that `node` takes its value from, those that nested queries give among them."""
    found: set[Source] = set()
    stack: list[exp.Expr] = [node]
    while stack:
        node = stack.pop()
        if isinstance(node, _LEAVES):
            continue
        if isinstance(node, (exp.Column, exp.Dot)):
            path = column_path(node)
            if path:
                found |= _column(reader, node, path, scope)
                _push_subscripts(stack, node)
                continue
            if isinstance(node, exp.Column):
                found |= _all_columns(scope, node.args.get("table"))
                continue
        elif isinstance(node, exp.Query):
            relation = reader.query(node, scope, scope.ctes)
            found.update(*(output.sources for output in relation.outputs()))
            continue
        elif isinstance(node, exp.Window) and isinstance(node.args.get("alias"), exp.Expr):
            stack.extend(_named_window(node))
        elif isinstance(node, exp.Exists) and isinstance(node.this, exp.Query):
            reader.query(node.this, scope, scope.ctes)
            continue
        elif isinstance(node, exp.Comprehension):
            reader.variables.update(e.name.lower() for e in (node.expression,) if isinstance(e, exp.Expr))
        elif isinstance(node, exp.Star):
            found |= _counted(scope) if isinstance(node.parent, exp.Count) else _all_columns(scope, None)
            continue
        _push_children(stack, node)
    return frozenset(found)


def _named_window(node: exp.Window) -> list[exp.Expr]:
    """What `OVER w` stands for: the definition of `w` in the WINDOW clause."""
    select = node.find_ancestor(exp.Select)
    name = node.args["alias"].name.lower()
    windows = (select.args.get("windows") if select is not None else None) or ()
    return [w for w in windows if w.name.lower() == name and w is not node]


def _push_children(stack: list[exp.Expr], node: exp.Expr) -> None:
    for value in node.args.values():
        if isinstance(value, exp.Expr):
            stack.append(value)
        elif isinstance(value, list):
            stack.extend(item for item in value if isinstance(item, exp.Expr))


def _push_subscripts(stack: list[exp.Expr], node: exp.Expr) -> None:
    while isinstance(node, (exp.Dot, exp.Bracket, exp.Paren)):
        if isinstance(node, exp.Bracket):
            stack.extend(node.expressions)
        node = node.this


def _column(reader: Reader, node: exp.Expr, path: list[str], scope: Scope) -> Sources:
    if len(path) == 1 and _is_unit(node, path[0]):
        return NOTHING
    column = node if isinstance(node, exp.Column) else node.find(exp.Column)
    if column is not None and isinstance(column.this, exp.Identifier):
        path = [reader.rules.fold(p, quoted=q) for p, q in zip(path, _quotes(node, len(path)), strict=True)]
    if path[0].lower() in reader.variables and (len(path) == 1 or scope.entry(path[0]) is None):
        return NOTHING
    found = scope.column(path)
    if found is None:
        reader.unresolved += 1
        return NOTHING
    reader.resolved += 1
    return found


def _quotes(node: exp.Expr, length: int) -> list[bool]:
    tail: list[bool] = []
    while isinstance(node, (exp.Dot, exp.Paren)):
        if isinstance(node, exp.Dot):
            tail.insert(0, bool(node.expression.args.get("quoted")))
        node = node.this
    head = [bool(p.args.get("quoted")) for p in node.parts] if isinstance(node, exp.Column) else []
    return (head + tail)[:length] + [False] * (length - len(head) - len(tail))


def _is_unit(node: exp.Expr, name: str) -> bool:
    """True for a bare time unit in a function that sqlglot does not know: it looks like a column."""
    parent = node.parent
    return (
        name.lower() in _TIME_UNITS
        and isinstance(parent, exp.Anonymous)
        and ("date" in parent.name.lower() or "time" in parent.name.lower())
    )


def _counted(scope: Scope) -> Sources:
    """What `count(*)` counts: the rows of tables whose columns nobody knows; with known columns it takes no value."""
    tables = [e.relation for e in scope.entries if isinstance(e.relation, Table) and not e.relation.closed]
    return frozenset((table.name, STAR) for table in tables)


def _all_columns(scope: Scope, qualifier: exp.Expr | None) -> Sources:
    """What a star inside a function takes: `to_json(t.*)`, `object_construct(*)`."""
    if qualifier is not None:
        entry = scope.entry(qualifier.name)
        relations = [entry.relation] if entry is not None else []
    else:
        relations = [e.relation for e in scope.entries if not e.hidden]
    return frozenset().union(*(o.sources for relation in relations for o in relation.outputs()))
