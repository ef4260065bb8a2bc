"""Queries: what a SELECT gives, column by column, and which tables it reads.

A resolver of our own over sqlglot's syntax tree. sqlglot's `qualify()` and `lineage()` copy and rewrite the tree for
each column; here each query is walked once, so that a statement costs little more than its parsing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from sqlglot import exp
from sqlglot.errors import ParseError

from mc_push_dagster.lineage.budget import TooWide
from mc_push_dagster.lineage.filters import filtered
from mc_push_dagster.lineage.lookup import Lookup
from mc_push_dagster.lineage.names import Name, Rules
from mc_push_dagster.lineage.relations import (
    NOTHING,
    STAR,
    Common,
    Derived,
    Fields,
    Output,
    Relation,
    Source,
    Table,
    United,
    renamed,
)
from mc_push_dagster.lineage.scope import Entry, Scope
from mc_push_dagster.lineage.sources import join_sources
from mc_push_dagster.lineage.stars import expand
from mc_push_dagster.lineage.values import column_path, sources_of

CHANGES = (exp.Insert, exp.Update, exp.Delete, exp.Merge)
QUERIES = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values)
_RECURSION_PASSES = 3
_WIDEST = 50_000
"""More columns than any warehouse allows (BigQuery: 10,000): stars multiplied by stars."""


class Reader:
    """Walks the queries of one statement and remembers what they read."""

    def __init__(
        self,
        lookup: Lookup,
        rules: Rules,
        *,
        database: str | None = None,
        schema: str | None = None,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self.lookup = lookup
        self.rules = rules
        self.database = database
        self.schema = schema
        self.ctes: dict[str, Relation] = {}
        """Common table expressions that stand outside of the statement."""
        self.variables: set[str] = set()
        """Names of script variables, in lower case: they look like columns."""
        self.tick = tick
        self.text_of: Callable[[exp.Expr, int], str] = _plain_text
        """What to call a select item without a name."""
        self.reads: dict[Name, bool] = {}
        """Tables read, in order of appearance; True where their columns are known."""
        self.indirect: set[Source] = set()
        self.resolved = 0
        self.unresolved = 0

    def fresh(self) -> Reader:
        """Another reader that has read nothing yet."""
        other = Reader(self.lookup, self.rules, database=self.database, schema=self.schema, tick=self.tick)
        other.variables, other.text_of = self.variables, self.text_of
        return other

    # -- tables ------------------------------------------------------------------------------------------------------

    def parts(self, table: exp.Expr) -> Name:
        """The parts of a table's name in the dialect's case, as far as they are written.

        Raises:
            sqlglot.errors.ParseError: if something else stands where a table must.
        """
        if not isinstance(table, exp.Table):
            raise ParseError("no table where one must stand")
        parts = tuple(self.rules.fold(p.name, quoted=bool(p.args.get("quoted"))) for p in table.parts if p.name)
        if self.rules.partition_decorators and parts and "$" in parts[-1]:
            return (*parts[:-1], parts[-1].partition("$")[0])
        return parts

    def locate(self, parts: Sequence[str]) -> Table:
        """The table that a name means; it is not counted as read."""
        if not parts:
            raise ParseError("no name where one must stand")
        name, columns = self.lookup.find(tuple(parts), self.database, self.schema)
        return Table(name, columns)

    def read(self, parts: Sequence[str]) -> Table:
        """The table that a name means, counted as read."""
        table = self.locate(parts)
        self.reads[table.name] = table.closed
        return table

    # -- queries -----------------------------------------------------------------------------------------------------

    def query(self, node: exp.Expr, outer: Scope | None, ctes: dict[str, Relation]) -> Relation:
        """The relation that a query gives."""
        self.tick()
        ctes = self.with_ctes(node, outer, ctes)
        if isinstance(node, exp.Select):
            return self._select(node, outer, ctes)
        if isinstance(node, exp.SetOperation):
            return self._set_operation(node, outer, ctes)
        if isinstance(node, exp.Subquery) and isinstance(node.this, QUERIES) and not node.args.get("pivots"):
            inner = self.query(node.this, outer, ctes)
            return self._aliased(inner, node)
        if isinstance(node, exp.Values):
            return self._aliased(self.values(node, Scope(ctes, outer)), node)
        # TABLE t, FROM t, a parenthesised join, PIVOT as a statement ...
        scope = Scope(ctes, outer)
        join_sources(self, scope, node)
        return expand(scope, None, None)

    def _aliased(self, relation: Relation, node: exp.Expr) -> Relation:
        columns = self.alias_columns(node)
        return renamed(relation, columns) if columns else relation

    def with_ctes(self, node: exp.Expr, outer: Scope | None, ctes: dict[str, Relation]) -> dict[str, Relation]:
        """The common table expressions in force inside `node`."""
        clause = node.args.get("with_")
        if clause is None:
            return ctes
        known = dict(ctes)
        recursive = bool(clause.args.get("recursive"))
        for cte in clause.expressions:
            name = cte.alias.lower()
            outside = self.reads, self.indirect
            self.reads, self.indirect = {}, set()
            relation = self._cte(cte, recursive, outer, known)
            known[name] = Common(relation, self.reads, self.indirect)
            self.reads, self.indirect = outside
        return known

    def common(self, relation: Relation) -> Relation:
        """What a name that stands for a common table expression means; what that has read counts from now on."""
        if not isinstance(relation, Common):
            return relation
        self.reads.update(relation.reads)
        self.indirect |= relation.indirect
        return relation.relation

    def _cte(self, cte: exp.Expr, recursive: bool, outer: Scope | None, ctes: dict[str, Relation]) -> Relation:
        recursive = (recursive or self.rules.recursion_unmarked) and _calls(cte.this, cte.alias.lower())
        relation = self._recursive(cte.this, cte, outer, ctes) if recursive else self._cte_body(cte.this, outer, ctes)
        return self._aliased(relation, cte)

    def _cte_body(self, body: exp.Expr, outer: Scope | None, ctes: dict[str, Relation]) -> Relation:
        if isinstance(body, CHANGES):
            # WITH gone AS (DELETE FROM t RETURNING *): the rows of t.
            target = body.find(exp.Table)
            return self.read(self.parts(target)) if target is not None else Derived([])
        if isinstance(body, (*QUERIES, exp.Table)):
            return self.query(body, outer, ctes)
        # ClickHouse and others: WITH expression AS name.
        return Derived([Output(body.alias_or_name, sources_of(self, body, Scope(ctes, outer)))])

    def _recursive(self, body: exp.Expr, cte: exp.Expr, outer: Scope | None, ctes: dict[str, Relation]) -> Relation:
        while isinstance(body, exp.Subquery) and not body.args.get("with_"):
            body = body.this
        known = self.with_ctes(body, outer, ctes)
        if not isinstance(body, exp.SetOperation):
            return self.query(body, outer, ctes)
        relation = self.query(body.this, outer, known)
        for _ in range(_RECURSION_PASSES):
            before = [o.sources for o in relation.outputs()]
            inner = {**known, cte.alias.lower(): self._aliased(relation, cte)}
            relation = United([relation, self.query(body.expression, outer, inner)])
            if [o.sources for o in relation.outputs()] == before:
                break
        return relation

    def _set_operation(self, node: exp.SetOperation, outer: Scope | None, ctes: dict[str, Relation]) -> Relation:
        # A union of a thousand selects is a tree a thousand levels deep on its left side: walk it without recursion.
        right: list[tuple[exp.SetOperation, exp.Expr]] = []
        first: exp.Expr = node
        while isinstance(first, exp.SetOperation) and (first is node or not first.args.get("with_")):
            right.append((first, first.expression))
            first = first.this
        relation = self.query(first, outer, ctes)
        group: list[Relation] = [relation]
        for operation, branch in reversed(right):
            found = self.query(branch, outer, ctes)
            if isinstance(operation, exp.Except):
                continue  # what is taken away gives no values
            if operation.args.get("by_name"):
                group = [United([*group, found], by_name=True)]
            else:
                group.append(found)
        relation = group[0] if len(group) == 1 else United(group)
        for operation, _ in right:
            scope = Scope(ctes, outer, [Entry((), relation)])
            filtered(self, operation, scope, [(operation, relation.outputs())])
        return relation

    def all_columns(self, scope: Scope) -> Relation:
        """What a bare star over `scope` gives."""
        return expand(scope, None, None)

    def values(self, node: exp.Values, scope: Scope) -> Relation:
        """Rows of values: each column is made of all that stands in it."""
        columns: list[set[Source]] = []
        for row in node.expressions:
            items = row.expressions if isinstance(row, exp.Tuple) else [row]
            columns.extend(set() for _ in range(len(items) - len(columns)))
            for column, item in zip(columns, items, strict=False):
                if not isinstance(item, exp.Literal):
                    column |= sources_of(self, item, scope)
        return Derived([Output(f"column{i}", frozenset(c)) for i, c in enumerate(columns, 1)])

    # -- select ------------------------------------------------------------------------------------------------------

    def _select(self, node: exp.Select, outer: Scope | None, ctes: dict[str, Relation]) -> Relation:
        scope = Scope(ctes, outer, aliases_usable=self.rules.lateral_aliases)
        source = node.args.get("from_")
        if source is not None:
            join_sources(self, scope, source.this)
        for item in (*(node.args.get("joins") or ()), *(node.args.get("laterals") or ())):
            join_sources(self, scope, item)
        return self.select_items(node, scope)

    def select_items(self, node: exp.Select, scope: Scope) -> Relation:
        """The select list of `node` over sources that stand in `scope` already."""
        outputs: list[Output] = []
        opens: list[Relation] = []
        items: list[tuple[exp.Expr, Sequence[Output]]] = []
        for position, item in enumerate(node.expressions):
            found, more = self._item(item, scope, position)
            items.append((item, found))
            opens.extend(more)
            for output in found:
                outputs.append(output)
                if len(outputs) > _WIDEST:
                    raise TooWide
                if output.named and output.name != STAR:
                    scope.aliases.setdefault(output.name.lower(), output)
        scope.aliases_usable = True
        filtered(self, node, scope, items)
        if str(node.args.get("kind") or "").upper() == "VALUE" and len(outputs) == 1:
            return self._struct_fields(node.expressions[0], outputs[0], scope)
        match = node.args.get("match")
        if match is not None:
            measures = [m.this for m in match.args.get("measures") or ()]
            outputs.extend(Output(m.alias_or_name, sources_of(self, m, scope)) for m in measures)
        return Derived(outputs, opens)

    def _struct_fields(self, item: exp.Expr, output: Output, scope: Scope) -> Relation:
        """SELECT AS VALUE of a struct gives its fields as columns."""
        struct = item.unalias()
        if not isinstance(struct, exp.Struct):
            return Fields(output.sources)
        fields = [(e, e.this if isinstance(e, exp.PropertyEQ) else e) for e in struct.expressions]
        return Derived([Output(name.alias_or_name, sources_of(self, e, scope)) for e, name in fields])

    def _item(self, item: exp.Expr, scope: Scope, position: int) -> tuple[Sequence[Output], Sequence[Relation]]:
        """The columns of one select item, and what may hide further ones."""
        if item.is_star or isinstance(item, exp.Columns):
            relation = expand(scope, item, self)
            hidden = relation.opens and not relation.outputs()
            return [Output(STAR, NOTHING)] if hidden else relation.outputs(), relation.opens
        if isinstance(item, exp.Aliases):
            sources = sources_of(self, item.this, scope)
            return [Output(self.column_name(a), sources) for a in item.aliases], ()
        sources = sources_of(self, item, scope)
        if isinstance(item, exp.QueryTransform) and isinstance(item.args.get("schema"), exp.Schema):
            columns = item.args["schema"].expressions
            return [
                Output(self.column_name(c if isinstance(c, exp.Identifier) else c.this), sources) for c in columns
            ], ()
        name, named = self.output_name(item, position)
        return [Output(name, sources, named=named)], ()

    def output_name(self, item: exp.Expr, position: int) -> tuple[str, bool]:
        """The name of a select item, and whether somebody gave it."""
        if isinstance(item, (exp.Alias, exp.PropertyEQ)):
            alias = item.args.get("alias") or item.this
            return self.column_name(alias), True
        path = column_path(item)
        if path:
            return self.rules.fold(path[-1], quoted=_quoted(item)), True
        if isinstance(item, exp.Subquery) and item.alias:
            return self.column_name(item.args["alias"]), True
        return self.text_of(item, position) or f"_{position}", False

    def alias_columns(self, node: exp.Expr) -> list[str]:
        """The column names of `AS t(a, b)`, in the dialect's case."""
        alias = node.args.get("alias")
        columns = alias.args.get("columns") if isinstance(alias, exp.TableAlias) else None
        return [self.column_name(c) for c in columns or ()]

    def column_name(self, node: exp.Expr) -> str:
        """An identifier in the dialect's case."""
        return self.rules.fold(node.name, quoted=_quoted(node))

    def condition(self, node: exp.Expr, scope: Scope) -> None:
        """Remember the columns of a filter or a join key as indirect evidence."""
        self.indirect |= sources_of(self, node, scope)


def _quoted(node: exp.Expr) -> bool:
    identifier = node if isinstance(node, exp.Identifier) else node.find(exp.Identifier)
    if isinstance(node, exp.Column):
        identifier = node.this
    elif isinstance(node, exp.Dot):
        identifier = node.expression
    return bool(identifier is not None and identifier.args.get("quoted"))


def _calls(body: exp.Expr, name: str) -> bool:
    """True if the right side of a set operation reads `name` and its left side does not: a recursion."""
    while isinstance(body, exp.Subquery):
        body = body.this
    if not isinstance(body, exp.SetOperation):
        return False
    return _mentions(body.expression, name) and not _mentions(body.this, name)


def _mentions(node: exp.Expr, name: str) -> bool:
    return any(t.name.lower() == name and not t.args.get("db") for t in node.find_all(exp.Table))


_SPACE = re.compile(r"\s+")


def _plain_text(node: exp.Expr, position: int) -> str:
    del position
    return _SPACE.sub(" ", node.sql(comments=False))
