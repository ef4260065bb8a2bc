"""Errors are named by what the caller does next, and their drawing at the top of the file is true."""

from __future__ import annotations

import re

import pytest

from mc_push_dagster import errors
from mc_push_dagster.errors import MaybeDelivered, MissingExtra, PushError, PushIncomplete, Rejected, TryAgain
from mc_push_dagster.model import Feed


def drawn() -> dict[str, str | None]:
    """Parents by name, as the module's docstring draws them."""
    parents: dict[str, str | None] = {}
    at_depth: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^ {4}((?:[│ ]   )*(?:[├└]── )?)([A-Z]\w+)", line)
        if match:
            depth = len(match[1]) // 4
            at_depth[depth:] = [match[2]]
            parents[match[2]] = at_depth[depth - 1] if depth else None
    return parents


def test_the_drawing_shows_every_error_under_its_parent():
    real = {
        name: None if cls is PushError else cls.__bases__[0].__name__
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, PushError)
    }
    assert drawn() == real


def test_a_missing_extra_says_what_to_install():
    error = MissingExtra(what="Snowflake", extra="snowflake")
    assert error.extra == "snowflake"
    assert "pip install 'mc-push-dagster[snowflake]'" in str(error)


@pytest.mark.parametrize("cls", [TryAgain, MaybeDelivered])
def test_the_time_to_wait_is_known_or_unknown(cls):
    assert cls("later").retry_after is None
    assert cls("later", retry_after=2.5).retry_after == 2.5


def test_an_incomplete_push_carries_every_accepted_id():
    ids = {Feed.METADATA: ("i1", "i2")}
    error = PushIncomplete("half", push_id="p", invocation_ids=ids)
    assert (error.push_id, error.invocation_ids) == ("p", ids)


def test_a_rejection_carries_the_gateways_words():
    assert Rejected("no", details={"events": ["bad"]}).details == {"events": ["bad"]}
    assert Rejected("no").details is None
