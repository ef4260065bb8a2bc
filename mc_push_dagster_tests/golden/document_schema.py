"""JSON Schema of the wire, derived from the product document's own "Table Schema" blocks.

    python mc_push_dagster_tests/golden/document_schema.py --write    writes push_ingest_schema.json
    python mc_push_dagster_tests/golden/document_schema.py            prints it

The document (push-ingest-api) stands beside the checkout where it may be read; tests use the data written from it. Its
blocks are JSON whose leaves are {"type", "required", "description"}. One reading is ours: `volume` and `freshness` are
optional as a whole, since the document says of a required leaf in one "required if the freshness block is included".
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("push_ingest_schema.json")
DOCUMENT = Path(__file__).parents[3] / "shared" / "product-docs" / "push-ingest-api.txt"
NAMES = ("table", "view", "lineage", "column_lineage", "query_log")
"""The blocks in their order in the document."""
OPTIONAL_BLOCKS = {"volume", "freshness"}


def blocks(text: str) -> list[dict[str, Any]]:
    """All JSON objects of the document that begin a line."""
    decoder = json.JSONDecoder()
    found: list[dict[str, Any]] = []
    at = 0
    while match := re.compile(r"^\{", re.MULTILINE).search(text, at):
        try:
            block, at = decoder.raw_decode(text, match.start())
            found.append(block)
        except json.JSONDecodeError:
            at = match.start() + 1
    return found


def is_leaf(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("type"), str) and "required" in node


def leaf(node: dict[str, Any]) -> dict[str, Any]:
    says = node.get("description", "")
    if only := re.match(r'Always "(\w+)"', says):
        return {"const": only.group(1)}
    if says.startswith("One of: "):
        return {"enum": says.removeprefix("One of: ").split(", ")}
    return {"type": node["type"] if node["required"] else [node["type"], "null"]}


def schema_of(node: Any) -> tuple[dict[str, Any], bool]:
    """The schema of a node and whether it is required where it stands."""
    if is_leaf(node):
        return leaf(node), node["required"]
    if isinstance(node, list):
        return {"type": "array", "items": schema_of(node[0])[0]}, False
    parts = {name: schema_of(child) for name, child in node.items()}
    required = [name for name, (_, needed) in parts.items() if needed and name not in OPTIONAL_BLOCKS]
    properties = {name: schema for name, (schema, _) in parts.items()}
    whole = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return whole, bool(required)


def derived(text: str) -> dict[str, dict[str, Any]]:
    """A schema for each kind of body, and the document's example of it under "examples"."""
    described = [b for b in blocks(text) if is_leaf(b.get("event_type"))]
    examples = [b for b in blocks(text) if isinstance(b.get("event_type"), str)]
    assert len(described) == len(examples) == len(NAMES), "the document changed its shape"
    return {
        name: schema_of(block)[0] | {"examples": [example]}
        for name, block, example in zip(NAMES, described, examples, strict=True)
    }


def text_of(schemas: dict[str, dict[str, Any]]) -> str:
    return json.dumps(schemas, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    made = text_of(derived(DOCUMENT.read_text(encoding="utf-8")))
    if "--write" in sys.argv:
        FILE.write_text(made, encoding="utf-8")
    else:
        print(made, end="")
