"""No secret and no piece of one survives redaction."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest

from mc_push_dagster.lineage.redact import WITHHELD, redact
from mc_push_dagster_tests.lineage.redaction_secrets import DIALECTS, Case, cases

CASES = list(cases())
_TOKEN = re.compile(r"\w{4,}")
_UNESCAPED = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|0\d{3}|\d{3}|[a-z])")


def pieces(secret: str) -> set[str]:
    """The words of a secret as written, with its escapes taken away, and URL-decoded; itself where it is short."""
    forms = {secret, unquote(secret), _UNESCAPED.sub(" ", secret), secret.replace("_", " ")}
    words = {word.lower() for form in forms for word in _TOKEN.findall(form)}
    return words or {secret.strip().lower()}


def test_there_are_enough_cases_in_every_dialect() -> None:
    assert len({c.sql for c in CASES}) >= 300
    for dialect in DIALECTS:
        assert sum(c.dialect == dialect for c in CASES) >= 100


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.dialect}: {c.sql[:40]!a}")
def test_no_piece_of_a_secret_survives(case: Case) -> None:
    shown = redact(case.sql, case.dialect)
    left = {p for secret in case.secrets for p in pieces(secret) if p in shown.lower() and p not in case.around}
    assert case.secrets
    assert not left, shown
    assert redact(shown, case.dialect) == shown


def test_what_can_be_read_is_not_withheld() -> None:
    withheld = [c for c in CASES if redact(c.sql, c.dialect) == WITHHELD]
    assert len(withheld) < len(CASES) / 8
