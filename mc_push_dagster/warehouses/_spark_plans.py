"""Lineage from analysed plans: Spark has resolved all names, stars, views and CTEs; each column carries an id to
follow.

Column lineage follows values only: a column that filters or joins is no source of any value. What the text leaves
open is not guessed: `PlanError`, and the SQL parser may try.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from mc_push_dagster.warehouses._spark_plantree import (
    ATTRIBUTE,
    Item,
    Node,
    PlanError,
    bracketed,
    items,
    parts,
    section,
    split,
    tree,
)

Name = tuple[str, ...]
Source = tuple[Name, str]

_BACKTICKED = r"(?:`(?:[^`]|``)+`)(?:\.`(?:[^`]|``)+`)*"
_VIEW = re.compile(rf"View \(({_BACKTICKED}), \[")
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
_WRITES = re.compile(
    r"InsertIntoHadoopFsRelationCommand|InsertIntoHiveTable|\w*CreateDataSourceTableAsSelectCommand|AppendData|Overwrite\w+"
    r"|\w*CreateHiveTableAsSelectCommand|(?:Atomic)?(?:Create|Replace)TableAsSelect|ReplaceData|WriteDelta|CreateViewCommand"
)
_SESSION_CATALOGS = ("V2SessionCatalog", "SparkSessionCatalog", "DeltaCatalog")


@dataclass(slots=True)
class Flow:
    """What one write takes from where. A name has the parts that Spark gives it: catalog, namespace, table."""

    target: Name
    tables: set[Name] = field(default_factory=set)
    """All that is read, also by filters."""
    views: set[Name] = field(default_factory=set)
    """Those of `tables` that are views."""
    columns: list[tuple[str, frozenset[Source]]] | None = None
    """The target's columns with the columns their values come from; None where the plan does not say."""
    is_view: bool = False


def flows(plan: str) -> list[Flow]:
    """The writes of one statement (several for a multi-insert), none for a plain query.

    Raises:
        PlanError: if the plan is cut short, failed, or of a form that is not known.
    """
    analyzed = section(plan, "Analyzed")
    if analyzed is None or "AnalysisException" in analyzed.partition("\n")[0] or " more fields" in analyzed:
        raise PlanError("no complete analysed plan")
    root = tree(analyzed)
    if root.operator == "Union" and root.children and all(_WRITES.match(c.text) for c in root.children):
        return [_write(child, plan) for child in root.children]
    return [_write(root, plan)] if _WRITES.match(root.text) else []


def view_flow(plan: str, view: Name) -> Flow:
    """What a view takes from where, from the plan of `SELECT * FROM view`.

    Raises:
        PlanError: as `flows`.
    """
    analyzed = section(plan, "Analyzed")
    if analyzed is None or "AnalysisException" in analyzed.partition("\n")[0] or " more fields" in analyzed:
        raise PlanError("no complete analysed plan")
    resolver = _Resolver(inside=view)
    outputs = resolver.outputs(tree(analyzed))
    if not resolver.entered:
        raise PlanError("the view is not in its own plan")
    columns = [(o.name, resolver.sources.get(o.id, frozenset())) for o in outputs]
    return Flow(target=view, tables=resolver.tables, views=resolver.views, columns=columns, is_view=True)


def _write(root: Node, plan: str) -> Flow:
    operator = root.operator
    target, names = _target(root, plan)
    resolver = _Resolver()
    flow = Flow(target=target, is_view=operator == "CreateViewCommand")
    is_change = operator in ("ReplaceData", "WriteDelta")
    if is_change:
        for condition in root.inner:
            resolver.outputs(condition)
        query = root.children[-1]
    else:
        query = (root.children or root.inner)[-1]
    outputs = resolver.outputs(query)
    flow.tables, flow.views = resolver.tables - {target}, resolver.views
    if resolver.merged:
        return flow
    if is_change:
        by_name = {o.name: o for o in outputs}
        pairs = [(n, by_name[n]) for n in names or () if n in by_name]
    elif names is None:
        pairs = [(o.name, o) for o in outputs]
    elif len(names) != len(outputs):
        return flow  # a column name with a comma
    else:
        pairs = list(zip(names, outputs, strict=True))
    # An UPDATE carries all columns through: a table is not its own source.
    flow.columns = [
        (n, frozenset(s for s in resolver.sources.get(o.id, frozenset()) if s[0] != target)) for n, o in pairs
    ]
    if is_change and not any(sources for _, sources in flow.columns):
        flow.tables = set()  # a DELETE, or an UPDATE with constants: what filters it gives no value
    return flow


def _target(root: Node, plan: str) -> tuple[Name, list[str] | None]:
    """The table that is written, and its columns where the command lists them."""
    text, operator = root.text, root.operator
    if operator in ("AppendData", "ReplaceData", "WriteDelta") or operator.startswith("Overwrite"):
        name, listed = _relation_v2(text[text.index("RelationV2") :]) if "RelationV2" in text else (None, None)
        if name is None or listed is None:
            raise PlanError("a write to something else than a table")
        return name, [i.name for i in listed]
    hive = re.search(r"CreateHiveTableAsSelectCommand \[Database: (.+?), TableName: (.+?)[,\]]", text)
    if hive is not None:
        return ("spark_catalog", hive[1], hive[2]), None
    if operator.endswith("TableAsSelect"):
        return _identifier(root, plan), None
    named = re.findall(rf"(?:^\S+ |, )({_BACKTICKED})(?=,|$)", text)
    if not named:
        raise PlanError("a write to files, not to a table")
    name = tuple(parts(named[0]))
    if operator == "CreateViewCommand":
        if "PersistedView" not in text:
            raise PlanError("a temporary view")
        return name, None
    if operator == "InsertIntoHiveTable":
        columns = re.search(r", (?:true|false), (?:true|false), \[(.*?)\], ", text, re.S)
    else:
        columns = re.search(r", \[([^\[]*)\]$", text)
    if columns is None:
        raise PlanError("no column list")
    return name, split(columns[1])


def _identifier(root: Node, plan: str) -> Name:
    """CREATE TABLE AS SELECT names its catalog by class only: the parsed plan has the name as it was written."""
    resolved = next((n for n in root.inner + root.children if n.operator == "ResolvedIdentifier"), None)
    found = re.match(r"ResolvedIdentifier (\S+?)(?:@\w+|\(\w+\))?, (.+)$", resolved.text if resolved else "")
    if found is None:
        raise PlanError("no identifier")
    name = parts(found[2])
    if found[1].rpartition(".")[2] in _SESSION_CATALOGS:
        return ("spark_catalog", *name)
    written = re.search(r"'UnresolvedIdentifier \[(.*?)\]", section(plan, "Parsed") or "")
    full = [p.strip() for p in written[1].split(", ")] if written else []
    if len(full) <= len(name):
        raise PlanError("a table of the session's current catalog, whose name the plan does not tell")
    return tuple(full)


def _relation_v2(text: str) -> tuple[Name | None, list[Item] | None]:
    body, end = bracketed(text)
    name = re.match(r" ((?:`(?:[^`]|``)+`|[^\s,])+)", text[end:])
    return (tuple(parts(name[1])) if name else None), items(body)


class _Resolver:
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
        name, listed = _relation_v2(node.text)
        if name is None or listed is None:
            raise PlanError("relation")
        return self._leaf(name, listed)

    def hive_relation(self, node: Node) -> list[Item]:
        found = re.match(rf"HiveTableRelation \[({_BACKTICKED})", node.text)
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


_HANDLERS: dict[str, Callable[[_Resolver, Node], list[Item]]] = {
    "Relation": _Resolver.relation,
    "RelationV2": _Resolver.relation_v2,
    "HiveTableRelation": _Resolver.hive_relation,
    "Project": _Resolver.project,
    "Aggregate": _Resolver.aggregate,
    "Window": _Resolver.window,
    "Generate": _Resolver.generate,
    "Expand": _Resolver.expand,
    "Union": _Resolver.union,
    "Intersect": _Resolver.union,
    "Except": _Resolver.first_only,
    "Join": _Resolver.join,
    "LateralJoin": _Resolver.lateral_join,
    "WithCTE": _Resolver.with_ctes,
    "CTERelationRef": _Resolver.cte,
    "LocalRelation": _Resolver.values,
    "Range": _Resolver.values,
    "OneRowRelation": _Resolver.values,
    "ScriptTransformation": _Resolver.script,
    "MergeRows": _Resolver.merge_rows,
}
