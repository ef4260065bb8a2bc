"""Query logs without values, where the configuration asks for it (`redact_query_text`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from mc_push_dagster.config import PushConfig
from mc_push_dagster.model import QueryRecord

ERROR_WITHHELD = "error text withheld: it may repeat values of the statement"
_PLAIN = re.compile(r"[A-Za-z_][\w.\-]{0,63}")
_FREE_TEXT = re.compile("tag|label|comment|text|message|description", re.IGNORECASE)
"""Extras that users fill with what they like."""
_REMEMBERED = 1_000
"""Texts that repeat are redacted once."""


def as_configured(records: Iterable[QueryRecord], config: PushConfig, dialect: str) -> Iterator[QueryRecord]:
    """Yield the records as they may leave the process: as they are, or redacted.

    Redacted, a record has its text without literals and comments, or a placeholder where they cannot be told apart, no
    error text (it repeats values), and of its extras numbers, flags and plain words.
    """
    if not config.redact_query_text:
        yield from records
        return
    from mc_push_dagster.lineage.redact import redact  # sqlglot costs 0.15 s

    redacted = lru_cache(maxsize=_REMEMBERED)(redact)
    for record in records:
        yield replace(
            record,
            text=redacted(record.text, dialect),
            error_text=None if record.error_text is None else ERROR_WITHHELD,
            extra={name: _plain(name, value) for name, value in record.extra.items()},
        )


def _plain(name: str, value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    plain = isinstance(value, str) and _PLAIN.fullmatch(value) and not _FREE_TEXT.search(name)
    return value if plain else "***"
