"""A second opinion on Iceberg tables: pyiceberg reads the metadata and the data files that Spark wrote."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class IcebergFacts:
    rows: int
    """Counted in the data, deletes applied."""
    files_size: int
    committed_at: datetime
    columns: tuple[str, ...]


def iceberg_table(folder: Path) -> IcebergFacts:
    """What pyiceberg says of the newest metadata in a table's folder."""
    from pyiceberg.table import StaticTable

    files = list((folder / "metadata").glob("*.metadata.json"))
    newest = max(files, key=lambda p: int(re.search(r"(\d+)", p.name)[1]))
    table = StaticTable.from_metadata(str(newest))
    snapshot = table.current_snapshot()
    return IcebergFacts(
        rows=table.scan().to_arrow().num_rows,
        files_size=sum(task.file.file_size_in_bytes for task in table.scan().plan_files()),
        committed_at=datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC),
        columns=tuple(field.name for field in table.schema().fields),
    )
