"""Stars: `*`, `t.*`, with EXCEPT, REPLACE, RENAME and ILIKE, and DuckDB's COLUMNS."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from mc_push_dagster.lineage.relations import NOTHING, STAR, Derived, Fields, Masked, Output, Relation, Spread
from mc_push_dagster.lineage.scope import Scope
from mc_push_dagster.lineage.values import column_path, sources_of

if TYPE_CHECKING:
    from mc_push_dagster.lineage.reader import Reader


def expand(scope: Scope, item: exp.Expr | None, reader: Reader | None) -> Derived:
    """The columns of a star over the sources in `scope`; `item` None means a bare one."""
    outputs, opens = _columns(scope, item, reader)
    star = item.this if isinstance(item, exp.Column) else item
    if isinstance(star, exp.Columns):
        return Derived(_matching(outputs, star), opens)
    if isinstance(star, exp.Star) and reader is not None and any(star.args.values()):
        return _modified(outputs, opens, star, scope, reader)
    return Derived(outputs, opens)


def _columns(scope: Scope, item: exp.Expr | None, reader: Reader | None) -> tuple[list[Output], list[Relation]]:
    if isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
        path = [p.name for p in item.parts[:-1]]
        entry = scope.source(*path)
        if entry is not None:
            spread = entry.relation if isinstance(entry.relation, Spread) else None
            # One name alone is that of the element, whose fields nobody lists.
            several = spread is None or len(spread.outputs()) > 1
            return _of(entry.relation if several or spread is None else Fields(spread.sources))
        return _of(Fields(scope.column(path) or NOTHING))
    if isinstance(item, exp.Dot) and reader is not None:
        sources = sources_of(reader, item.this, scope)
        return [], [Fields(sources)]
    outputs: list[Output] = []
    opens: list[Relation] = []
    merged = set(scope.using)
    for entry in scope.entries:
        if entry.hidden:
            continue
        columns, more = _of(entry.relation)
        for output in columns:
            key = output.name.lower()
            if key in scope.using:
                if key not in merged:
                    continue
                merged.discard(key)
                output = Output(output.name, scope.using[key])
            outputs.append(output)
        opens.extend(more)
    return outputs, opens


def _of(relation: Relation) -> tuple[list[Output], list[Relation]]:
    if isinstance(relation, Derived):
        # Its named columns are taken over one by one: only what hides behind its own stars is left.
        return list(relation.outputs()), list(relation.opens)
    return list(relation.outputs()), [] if relation.closed else [relation]


def _matching(outputs: Sequence[Output], columns: exp.Columns) -> list[Output]:
    pattern = columns.this
    if not (isinstance(pattern, exp.Literal) and pattern.is_string):
        return list(outputs)
    try:
        matcher = re.compile(pattern.name)
    except re.error:
        return list(outputs)
    return [o for o in outputs if o.name == STAR or matcher.search(o.name)]


def _modified(
    outputs: Sequence[Output], opens: Sequence[Relation], star: exp.Star, scope: Scope, reader: Reader
) -> Derived:
    dropped = {e.name.lower() for e in star.args.get("except_") or star.args.get("except") or ()}
    replaced = {
        e.alias_or_name.lower(): Output(e.alias_or_name, sources_of(reader, e, scope))
        for e in star.args.get("replace") or ()
    }
    renames = {
        reader.column_name(e.this): reader.column_name(e.args.get("alias") or e.this)
        for e in star.args.get("rename") or ()
    }
    folded = {old.lower(): new for old, new in renames.items()}
    kept = [o for o in outputs if o.name.lower() not in dropped and _like(o.name, star.args.get("ilike"))]
    result = [replaced.pop(o.name.lower(), o) for o in kept]
    listed = {o.name.lower() for o in result}
    result = [Output(folded.get(o.name.lower(), o.name), o.sources) for o in result]
    for old, new in renames.items():
        if old.lower() not in listed:
            found = next((s for r in opens if (s := r.column(old)) is not None), NOTHING)
            result.append(Output(new, found))
    result.extend(replaced.values() if opens else ())
    masks = frozenset(dropped | set(folded))
    return Derived(result, [Masked(r, masks) for r in opens] if masks else opens)


def _like(name: str, pattern: exp.Expr | None) -> bool:
    if pattern is None or name == STAR:
        return True
    expression = re.escape(pattern.name).replace("%", ".*").replace("_", ".")
    return re.fullmatch(expression, name, re.IGNORECASE) is not None


def star_of(item: exp.Expr) -> bool:
    """True if a select item gives columns that it does not name."""
    return not column_path(item) and (item.is_star or isinstance(item, exp.Columns))
