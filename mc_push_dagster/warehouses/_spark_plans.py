"""Lineage from analysed plans: what a statement writes, or a view shows, and where its values come from.

Column lineage follows values only: a column that filters or joins is no source of any value. What the text leaves
open is not guessed: `PlanError`, and the SQL parser may try.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mc_push_dagster.warehouses._spark_plantree import Node, PlanError, parts, section, split, tree
from mc_push_dagster.warehouses._spark_resolver import BACKTICKED, Name, Resolver, Source, relation_v2

_WRITES = re.compile(
    r"InsertIntoHadoopFsRelationCommand|InsertIntoHiveTable|\w*CreateDataSourceTableAsSelectCommand|AppendData|Overwrite\w+"
    r"|\w*CreateHiveTableAsSelectCommand|(?:Atomic)?(?:Create|Replace)TableAsSelect|ReplaceData|WriteDelta"
    r"|CreateViewCommand|CreateIcebergView"
)
_VIEWS = ("CreateViewCommand", "CreateIcebergView")
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
    resolver = Resolver(inside=view)
    outputs = resolver.outputs(tree(analyzed))
    if not resolver.entered:
        raise PlanError("the view is not in its own plan")
    columns = [(o.name, resolver.sources.get(o.id, frozenset())) for o in outputs]
    return Flow(target=view, tables=resolver.tables, views=resolver.views, columns=columns, is_view=True)


def _write(root: Node, plan: str) -> Flow:
    operator = root.operator
    target, names = _target(root, plan)
    resolver = Resolver()
    flow = Flow(target=target, is_view=operator in _VIEWS)
    is_change = operator in ("ReplaceData", "WriteDelta")
    if is_change:
        for condition in root.inner:
            resolver.outputs(condition)
        query = root.children[-1]
    else:
        query = (root.children or root.inner)[-1]
    outputs = resolver.outputs(query)
    flow.tables, flow.views = resolver.tables - {target}, resolver.views
    if resolver.merged or flow.is_view:
        return flow  # a view's columns may have names of their own, which this plan does not tell; `view_flow` does
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
        name, listed = relation_v2(text[text.index("RelationV2") :]) if "RelationV2" in text else (None, None)
        if name is None or listed is None:
            raise PlanError("a write to something else than a table")
        return name, [i.name for i in listed]
    hive = re.search(r"CreateHiveTableAsSelectCommand \[Database: (.+?), TableName: (.+?)[,\]]", text)
    if hive is not None:
        return ("spark_catalog", hive[1], hive[2]), None
    if operator.endswith("TableAsSelect") or operator == "CreateIcebergView":
        return _identifier(root, plan), None
    named = re.findall(rf"(?:^\S+ |, )({BACKTICKED})(?=,|$)", text)
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
