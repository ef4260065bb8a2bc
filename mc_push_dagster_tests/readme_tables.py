"""The README's generated parts; `python mc_push_dagster_tests/readme_tables.py` writes them, a test compares."""

from __future__ import annotations

import re
from pathlib import Path

from mc_push_dagster.warehouses import REGISTRY, load
from mc_push_dagster.warehouses.base import Capability

README = Path(__file__).resolve().parent.parent / "README.md"
MARK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
EXTRAS = {"duckdb": "-", "hive": "`spark`", "bigquery_iceberg": "`bigquery`"}
SHORT = {"yes": "yes", "not yet": "not yet", "impossible": "-"}
SHOWN = (
    Capability.SCHEMA,
    Capability.ROW_COUNT,
    Capability.BYTE_COUNT,
    Capability.DATA_CHANGE,
    Capability.QUERY_LOG,
    Capability.TABLE_LINEAGE,
    Capability.COLUMN_LINEAGE,
)


def warehouses() -> str:
    """One row a warehouse, from what its class says of itself."""
    lines = [
        "| type | extra | " + " | ".join(c.value for c in SHOWN) + " | log latency | a full catalog costs |",
        "|---|---|" + "---|" * (len(SHOWN) + 2),
    ]
    for name in REGISTRY:
        cls = load(name)
        states = [SHORT[cls.capabilities[c].state] if c in cls.capabilities else "-" for c in SHOWN]
        minutes = int(cls.query_log_latency.total_seconds() // 60)
        extra = EXTRAS.get(name, f"`{name}`")
        latency = f"{minutes} min" if minutes else "none"
        lines.append(f"| `{name}` | {extra} | {' | '.join(states)} | {latency} | {cls.statement_budget or '-'} |")
    return "\n".join(lines) + "\n"


def block_of(page: str, heading: str) -> str:
    """The first fenced block below a heading of a page in docs/: what is written there once stands here, too."""
    text = (README.parent / "docs" / page).read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1]
    found = re.search(r"```\w+\n.*?```\n", text, re.DOTALL)
    assert found is not None
    return found[0]


TABLES = {
    "warehouses": warehouses,
    "grants": lambda: block_of("snowflake.md", "Rights"),
    "roles": lambda: block_of("bigquery.md", "Rights"),
}


def rendered(text: str) -> str:
    """The README with its tables made anew."""
    return MARK.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


if __name__ == "__main__":
    README.write_text(rendered(README.read_text(encoding="utf-8")), encoding="utf-8")
