"""Columns are read once a day and when a schema changed; volume and freshness go out every hour without them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from mc_push_dagster.config import PushConfig
from mc_push_dagster.flow.drift import schema_digest
from mc_push_dagster.model import Feed, Fingerprint, Gap, TableColumns
from mc_push_dagster.warehouses.base import YES, Capability, Support
from mc_push_dagster_tests.flow.harness import UUID, Desk, Recorder, Shop, assets, config, desk, measured, table


class Watched(Shop):
    """A shop with a fingerprint, which counts how often its columns are asked for."""

    capabilities: ClassVar[dict[Capability, Support]] = {Capability.DRIFT: YES}
    asked = 0
    blind = False

    def columns(self) -> Iterator[TableColumns | Gap]:
        self.asked += 1
        yield from super().columns()

    def fingerprints(self) -> Iterator[Fingerprint | Gap]:
        if self.blind:
            yield Gap(subject="shop", reason="denied")
            return
        digest = "".join(f"{s.ref}{schema_digest(s.columns or ())}" for s in self._sorted())
        yield Fingerprint(database="shop", digest=digest)


@pytest.fixture
def shop() -> Watched:
    return Watched(table("orders", "id", "price", rows=5), table("users", rows=0))


@pytest.fixture
def at(tmp_path: Path, shop: Watched) -> Desk:
    return desk(tmp_path, shop=shop, gateway=Recorder())


def push(at: Desk) -> list[dict]:
    """Push the catalog an hour later than before; return what it sent."""
    assert isinstance(at.gateway, Recorder)
    at.gateway.bodies.clear()
    at.clock.advance(hours=1)
    at.pusher.push_catalog()
    return at.gateway.events(Feed.METADATA)


def fields(events: list[dict]) -> list[bool]:
    return ["fields" in event["relational_asset"] for event in events]


def test_the_hours_after_a_full_push_carry_volume_and_freshness_without_reading_columns(
    at: Desk, shop: Watched
) -> None:
    assert fields(push(at)) == [True, True]
    for _ in range(3):
        events = push(at)
        assert (measured(events), fields(events), shop.asked) == (["orders", "users"], [False, False], 1)


def test_the_schema_that_was_pushed_stays_on_record_and_the_push_counts_as_news_of_the_table(at: Desk) -> None:
    push(at)
    push(at)
    record = at.ledger.schema_of(UUID, table("orders").ref)
    assert record is not None
    assert record.columns is not None
    assert [column.name for column in record.columns] == ["id", "price"]
    assert record.pushed_at == at.clock.now


def test_a_day_later_every_schema_is_read_and_pushed_again(at: Desk, shop: Watched) -> None:
    push(at)
    at.clock.advance(hours=22)
    assert fields(push(at)) == [False, False]
    assert fields(push(at)) == [True, True]
    assert shop.asked == 2


def test_a_changed_schema_is_read_at_the_next_push(at: Desk, shop: Watched) -> None:
    push(at)
    shop.stock[0] = table("orders", "id", "price", "tax", rows=6)
    assert fields(push(at)) == [True, True]
    assert fields(push(at)) == [False, False]


def test_a_new_table_is_pushed_with_its_columns(at: Desk, shop: Watched) -> None:
    push(at)
    shop.stock.append(table("invoices", "id"))
    events = push(at)
    assert assets(events) == ["invoices", "orders", "users"]
    assert all(fields(events))


def test_a_push_that_could_not_read_all_is_not_taken_for_a_full_one(at: Desk, shop: Watched) -> None:
    shop.stock.append(Gap(subject="shop.hidden", reason="denied"))
    push(at)
    push(at)
    assert shop.asked == 2


def test_without_a_fingerprint_columns_are_read_with_every_push(at: Desk, shop: Watched) -> None:
    shop.blind = True
    push(at)
    push(at)
    assert shop.asked == 2


def test_columns_can_be_asked_for_with_every_push(tmp_path: Path, shop: Watched) -> None:
    always = replace_hours(0)
    at = desk(tmp_path, shop=shop, gateway=Recorder(), settings=always)
    push(at)
    assert fields(push(at)) == [True, True]


def replace_hours(hours: int) -> PushConfig:
    return config().model_copy(update={"schema_every_hours": hours})


def test_a_dry_run_reads_what_the_push_would_read(at: Desk, shop: Watched) -> None:
    push(at)
    at.clock.advance(hours=1)
    at.pusher.push_catalog(dry_run=True)
    assert shop.asked == 1


def test_an_unmeasured_table_is_no_longer_pushed_once_its_schema_is_known(at: Desk, shop: Watched) -> None:
    shop.stock[1] = replace(table("users"), row_count=None)
    push(at)
    assert measured(push(at)) == ["orders"]
