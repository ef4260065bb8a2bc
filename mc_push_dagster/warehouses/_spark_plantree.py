"""The text of a Spark plan as a tree, and its expressions cut into pieces.

The layout is that of `TreeNode.generateTreeString` (Spark 3.5 and 4): three characters a level, `+-` or `:-` before
a node, and plans of subqueries two levels deeper than their owner, before its children.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_LINE = re.compile(r"([ :]*)([+:]- )(.*)")
_ITEM = re.compile(r"(?:(?P<made>.*) AS )?(?P<name>.*)#(?P<id>\d+)L?", re.S)
_OPEN, _CLOSE = "([{<", ")]}>"
ATTRIBUTE = re.compile(r"#(\d+)L?\b")


class PlanError(Exception):
    """The plan holds something that we cannot read with certainty."""


@dataclass(slots=True)
class Node:
    """One operator: its text, its children, and the plans of the subqueries in it (or of a command's query)."""

    text: str
    children: list[Node] = field(default_factory=list)
    inner: list[Node] = field(default_factory=list)

    @property
    def operator(self) -> str:
        return re.split(r"[ \[(]", self.text, maxsplit=1)[0]


def section(plan: str, title: str) -> str | None:
    """One part of what EXPLAIN EXTENDED prints: `Parsed`, `Analyzed`, `Optimized`; None if it is not there."""
    start = f"== {title} Logical Plan ==\n"
    _, found, rest = plan.partition(start)
    return re.split(r"\n\n== (?:Optimized|Analyzed) Logical Plan ==\n|\n== ", rest)[0].rstrip("\n") if found else None


def tree(text: str) -> Node:
    """Read one section.

    Raises:
        PlanError: if the indentation does not fit.
    """
    lines = text.split("\n")
    if len(lines) > 1 and not _LINE.fullmatch(lines[1]) and _starts_tree(lines[2:]):
        lines = lines[1:]  # a query's plan begins with a line that lists its columns
    elif len(lines) > 1 and _is_schema(lines[0]):
        lines = lines[1:]
    root = Node(lines[0])
    stack: list[tuple[int, Node]] = [(-3, root)]
    for line in lines[1:]:
        found = _LINE.fullmatch(line)
        if found is None:
            stack[-1][1].text += "\n" + line  # a literal with a line break
            continue
        column = len(found[1])
        while stack and stack[-1][0] >= column:
            stack.pop()
        if not stack:
            raise PlanError("indentation")
        above, parent = stack[-1]
        node = Node(found[3])
        if column == above + 3:
            parent.children.append(node)
        elif column == above + 6:
            parent.inner.append(node)
        else:
            raise PlanError("indentation")
        stack.append((column, node))
    return root


def _starts_tree(lines: list[str]) -> bool:
    return bool(lines) and _LINE.fullmatch(lines[0]) is not None


def _is_schema(line: str) -> bool:
    """`oid: bigint, region: string`: no operator is followed by a colon."""
    return re.match(r"[^\s(\[]+: [a-z]", line) is not None


def split(body: str) -> list[str]:
    """Cut at the commas that stand outside of brackets.

    Raises:
        PlanError: if brackets do not match, as those of a literal may not.
    """
    pieces: list[str] = []
    depth, start = 0, 0
    for i, char in enumerate(body):
        if char in _OPEN:
            depth += 1
        elif char in _CLOSE and not (char == ">" and body[i - 1] in "-= "):  # `->`, `=>`, ` >`
            depth -= 1
        elif char == "," and depth == 0:
            pieces.append(body[start:i].strip())
            start = i + 1
    pieces.append(body[start:].strip())
    return [piece for piece in pieces if piece]


def bracketed(text: str, start: int = 0) -> tuple[str, int]:
    """The inside of the bracket `[` at or after `start`, and the place after it.

    Raises:
        PlanError: if there is none, or it does not end.
    """
    opened = text.find("[", start)
    depth = 0
    for i in range(opened, len(text)) if opened >= 0 else ():
        if text[i] == "[":
            depth += 1
        elif text[i] == "]":
            depth -= 1
            if depth == 0:
                return text[opened + 1 : i], i + 1
    raise PlanError("brackets")


@dataclass(frozen=True, slots=True)
class Item:
    """One output of an operator: `expression AS name#id`, or `name#id` handed through."""

    name: str
    id: str
    expression: str | None


def items(body: str) -> list[Item]:
    """The outputs in a list.

    Raises:
        PlanError: if a piece has no id: a list that was cut short (`... 5 more fields`), or a literal full of brackets.
    """
    found: list[Item] = []
    for piece in split(body):
        match = _ITEM.fullmatch(piece)
        if match is None:
            raise PlanError(f"not an output: {piece[:40]!r}")
        found.append(Item(match["name"], match["id"], match["made"]))
    return found


def parts(name: str) -> list[str]:
    """The parts of a dotted name, in backticks or not."""
    return [quoted.replace("``", "`") if quoted else bare for quoted, bare in _PART.findall(name)]


_PART = re.compile(r"`((?:[^`]|``)+)`|([^.`]+)")
