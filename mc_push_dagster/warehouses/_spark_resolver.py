"""Follows columns through an analysed plan: names, stars, views and CTEs are resolved; each column carries an id."""

from __future__ import annotations

import re
from collections.abc import Callable

from mc_push_dagster.warehouses._spark_plantree import ATTRIBUTE, Item, Node, PlanError, bracketed, items, parts, split

Name = tuple[str, ...]
"""A table as Spark names it: catalog, namespace, table."""
Source = tuple[Name, str]

BACKTICKED = r"(?:`(?:[^`]|``)+`)(?:\.`(?:[^`]|``)+`)*"
_VIEW = re.compile(rf"View \(({BACKTICKED}), \[")
_SUBQUERY = re.compile(r"\b(scalar-subquery|exists|list|lateral-subquery|in-subquery)#\d+ (?=\[)")
_THROUGH = frozenset(
    {"SubqueryAlias", "Filter", "Sort", "GlobalLimit", "LocalLimit", "Offset", "Tail", "Distinct", "Deduplicate"}
    | {
        "Repartition",
        "RepartitionByExpression",
        "RebalancePartitions",
        "Sample",
        "ResolvedHint",
        "WithWindowDefinition",
    }
)
"""Operators that hand their child's columns on."""


def relation_v2(text: str) -> tuple[Name | None, list[Item] | None]:
    """Name and columns of `RelationV2[...] name name`."""
    body, end = bracketed(text)
    name = re.match(r" ((?:`(?:[^`]|``)+`|[^\s,])+)", text[end:])
    return (tuple(parts(name[1])) if name else None), items(body)


class Resolver:
    """Walks a plan from its leaves and remembers for each attribute id which tables' columns it takes values from."""

    def __init__(self, inside: Name | None = None) -> None:
        self.sources: dict[str, frozenset[Source]] = {}
        self.tables: set[Name] = set()
        self.views: set[Name] = set()
        self.merged = False
        """True below a MERGE, whose plan does not print what goes where."""
        self.entered = False
        self._inside = inside
        self._ctes: dict[str, list[Item]] = {}

    def outputs(self, node: Node) -> list[Item]:
        """The attributes that `node` puts out, in order."""
        operator = node.operator
        if operator == "View":
            return self._view(node)
        if operator in _THROUGH:
            self._subqueries(node)
            return self._only(node)
        handler = _HANDLERS.get(operator)
        if handler is None:
            raise PlanError(f"operator {operator[:40]}")
        return handler(self, node)

    def _only(self, node: Node) -> list[Item]:
        if len(node.children) != 1:
            raise PlanError("children")
        return self.outputs(node.children[0])

    def _leaf(self, name: Name, listed: list[Item], *, is_view: bool = False) -> list[Item]:
        self.tables.add(name)
        if is_view:
            self.views.add(name)
        for item in listed:
            self.sources[item.id] = frozenset({(name, item.name)})
        return listed

    def _view(self, node: Node) -> list[Item]:
        found = _VIEW.match(node.text)
        if found is None:
            raise PlanError("view")
        name = tuple(parts(found[1]))
        if name == self._inside or len(name) < 3:  # the view that is looked into, and temporary views
            self.entered = self.entered or name == self._inside
            return self._only(node)
        return self._leaf(name, items(bracketed(node.text, found.end() - 1)[0]), is_view=True)

    def relation(self, node: Node) -> list[Item]:
        found = re.match(r"Relation ([^\[]+)\[(.*)\] \S+$", node.text, re.S)
        if found is None:
            raise PlanError("files, not a table")
        return self._leaf(tuple(parts(found[1])), items(found[2]))

    def relation_v2(self, node: Node) -> list[Item]:
        name, listed = relation_v2(node.text)
        if name is None or listed is None:
            raise PlanError("relation")
        return self._leaf(name, listed)

    def hive_relation(self, node: Node) -> list[Item]:
        found = re.match(rf"HiveTableRelation \[({BACKTICKED})", node.text)
        if found is None:
            raise PlanError("relation")
        listed: list[Item] = []
        for label in ("Data Cols: ", "Partition Cols: "):
            if label in node.text:
                listed += items(bracketed(node.text, node.text.index(label))[0])
        return self._leaf(tuple(parts(found[1])), listed)

    def project(self, node: Node) -> list[Item]:
        self._below(node)
        return self._made(node, node.text[len("Project [") : -1])

    def aggregate(self, node: Node) -> list[Item]:
        self._below(node)
        body, end = bracketed(node.text)
        if node.text[end:].startswith(", ["):
            body, _ = bracketed(node.text, end)
        return self._made(node, body)

    def window(self, node: Node) -> list[Item]:
        below = self._below(node)
        return below + self._made(node, bracketed(node.text)[0])

    def generate(self, node: Node) -> list[Item]:
        below = self._below(node)
        start = node.text.rindex("[")
        made = items(node.text[start + 1 : -1])
        for item in made:
            self.sources[item.id] = self._of(node.text[:start])
        return below + made

    def expand(self, node: Node) -> list[Item]:
        self._below(node)
        rows, end = bracketed(node.text)
        listed = items(bracketed(node.text, end)[0])
        for row in split(rows):
            for item, expression in zip(listed, split(row[1:-1]), strict=True):
                self.sources[item.id] = self.sources.get(item.id, frozenset()) | self._of(expression)
        return listed

    def union(self, node: Node) -> list[Item]:
        first, *others = [self.outputs(child) for child in node.children]
        for other in others:
            for mine, its in zip(first, other, strict=True):
                self.sources[mine.id] = self._get(mine.id) | self._get(its.id)
        return first

    def first_only(self, node: Node) -> list[Item]:
        return [self.outputs(child) for child in node.children][0]  # noqa: RUF015 - the others are read for their tables

    def join(self, node: Node) -> list[Item]:
        below = [self.outputs(child) for child in node.children]
        self._subqueries(node)
        left_only = re.match(r"(?:AsOf)?Join Left(?:Semi|Anti)", node.text)
        return below[0] if left_only else [item for items_ in below for item in items_]

    def lateral_join(self, node: Node) -> list[Item]:
        left = self._only(node)
        return left + [item for query in node.inner for item in self.outputs(query)]

    def with_ctes(self, node: Node) -> list[Item]:
        for definition in node.children[:-1]:
            self._ctes[definition.text.split()[1].rstrip(",")] = self._only(definition)
        return self.outputs(node.children[-1])

    def cte(self, node: Node) -> list[Item]:
        listed = items(bracketed(node.text)[0])
        defined = self._ctes.get(node.text.split()[1].rstrip(","))
        if defined is None or len(defined) != len(listed):
            raise PlanError("a recursive or unknown CTE")
        for mine, its in zip(listed, defined, strict=True):
            self.sources[mine.id] = self._get(its.id)
        return listed

    def values(self, node: Node) -> list[Item]:
        return items(bracketed(node.text)[0]) if "#" in node.text else []

    def script(self, node: Node) -> list[Item]:
        everything = frozenset[Source]().union(*(self._get(i.id) for i in self._below(node)))
        made = items(bracketed(node.text)[0])
        for item in made:
            self.sources[item.id] = everything
        return made

    def merge_rows(self, node: Node) -> list[Item]:
        self._below(node)
        self.merged = True
        return []

    # -- expressions ----------------------------------------------------------------------------------------------

    def _below(self, node: Node) -> list[Item]:
        return [item for child in node.children for item in self.outputs(child)]

    def _made(self, node: Node, body: str) -> list[Item]:
        inner = self._subqueries(node)
        found = items(body)
        for item in found:
            if item.expression is not None:
                self.sources[item.id] = self._of(item.expression, inner)
        return found

    def _subqueries(self, node: Node) -> dict[str, frozenset[Source]]:
        """What each subquery in the node's expressions gives, by its id; all of them are read for their tables."""
        tokens = list(dict.fromkeys(match.group(0) for match in _SUBQUERY.finditer(node.text)))
        given = [self.outputs(query) for query in node.inner]
        if not tokens:
            return {}
        if len(tokens) != len(given):
            if any(t.startswith("scalar") for t in tokens):
                raise PlanError("subqueries")
            return dict.fromkeys(tokens, frozenset())
        return {
            token: frozenset()
            if token.startswith("exists")
            else frozenset[Source]().union(*(self._get(o.id) for o in out))
            for token, out in zip(tokens, given, strict=True)
        }

    def _of(self, expression: str, inner: dict[str, frozenset[Source]] | None = None) -> frozenset[Source]:
        found: set[Source] = set()
        for match in reversed(list(_SUBQUERY.finditer(expression))):
            found |= (inner or {}).get(match.group(0), frozenset())
            # What stands in the bracket are outer columns that the subquery filters by.
            _, end = bracketed(expression, match.end())
            expression = expression[: match.start()] + expression[end:]
        for attribute in ATTRIBUTE.findall(expression):
            found |= self._get(attribute)
        return frozenset(found)

    def _get(self, attribute: str) -> frozenset[Source]:
        return self.sources.get(attribute, frozenset())


_HANDLERS: dict[str, Callable[[Resolver, Node], list[Item]]] = {
    "Relation": Resolver.relation,
    "RelationV2": Resolver.relation_v2,
    "HiveTableRelation": Resolver.hive_relation,
    "Project": Resolver.project,
    "Aggregate": Resolver.aggregate,
    "Window": Resolver.window,
    "Generate": Resolver.generate,
    "Expand": Resolver.expand,
    "Union": Resolver.union,
    "Intersect": Resolver.union,
    "Except": Resolver.first_only,
    "Join": Resolver.join,
    "LateralJoin": Resolver.lateral_join,
    "WithCTE": Resolver.with_ctes,
    "CTERelationRef": Resolver.cte,
    "LocalRelation": Resolver.values,
    "Range": Resolver.values,
    "OneRowRelation": Resolver.values,
    "ScriptTransformation": Resolver.script,
    "MergeRows": Resolver.merge_rows,
}
