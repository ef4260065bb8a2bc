"""The second opinion, by the real openlineage-sql."""

from __future__ import annotations

import sys

import pytest

from mc_push_dagster.errors import MissingExtra
from mc_push_dagster.lineage import opinion
from mc_push_dagster.lineage.opinion import SecondOpinion

pytest.importorskip("openlineage_sql", reason="openlineage-sql (extra second-opinion) is not installed")


@pytest.mark.parametrize(
    ("sql", "reads", "destination", "expected"),
    [
        ("INSERT INTO s.out SELECT a FROM s.src", {"d.s.src"}, "d.s.out", True),
        ('INSERT INTO "S"."OUT" SELECT a FROM src', {"d.s.src"}, "d.s.out", True),
        ("INSERT INTO s.out SELECT a FROM s.src JOIN s.out ON true", {"d.s.src"}, "d.s.out", True),
        ("INSERT INTO s.out SELECT a FROM s.src", {"d.s.src", "d.s.more"}, "d.s.out", False),
        ("INSERT INTO s.out SELECT a FROM s.src", {"d.s.src"}, "d.s.elsewhere", False),
        ("INSERT INTO s.out SELEC a", {"d.s.src"}, "d.s.out", None),
    ],
)
def test_it_agrees_disputes_or_cannot_tell(sql: str, reads: set[str], destination: str, expected: bool | None) -> None:
    assert SecondOpinion("snowflake").agrees(sql, reads, destination) is expected


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    opinion._parser.cache_clear()
    monkeypatch.setitem(sys.modules, "openlineage_sql", None)
    with pytest.raises(MissingExtra, match=r"second-opinion"):
        SecondOpinion("snowflake")
    opinion._parser.cache_clear()
