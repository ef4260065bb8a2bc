"""Materializing from a script: what failed is told in one sentence, an interruption stays one."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from mc_push_dagster.errors import FixConfiguration, PushError, WarehouseUnavailable
from mc_push_dagster.orchestration.materialize import instance, materialize


def pushing(error: BaseException | None) -> dg.Definitions:
    @dg.asset(key=["monte_carlo", "shop", "table_catalog"])
    def catalog() -> dg.MaterializeResult:
        if error is not None:
            raise error
        return dg.MaterializeResult(metadata={"mc/tables": 3})

    job = dg.define_asset_job("monte_carlo_shop_hourly_push", selection=[catalog], executor_def=dg.in_process_executor)
    return dg.Definitions(assets=[catalog], jobs=[job])


def test_what_a_materialization_tells_is_handed_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with instance(tmp_path / "dagster") as opened:
        (made,) = materialize(pushing(None), "shop", on=opened)
    assert (made.asset, made.partition, made.metadata["mc/tables"]) == ("monte_carlo/shop/table_catalog", None, 3)


def test_a_failed_run_is_named_with_the_assets_own_words() -> None:
    with dg.DagsterInstance.ephemeral() as opened, pytest.raises(PushError, match=r"hourly_push failed: .*no table"):
        materialize(pushing(ValueError("no table\nof many lines")), "shop", on=opened)


def test_an_interrupted_run_is_an_interruption_and_no_failure() -> None:
    with dg.DagsterInstance.ephemeral() as opened, pytest.raises(KeyboardInterrupt):
        materialize(pushing(dg.DagsterExecutionInterruptedError()), "shop", on=opened)


def test_a_failure_whose_words_say_interrupted_stays_a_failure() -> None:
    error = WarehouseUnavailable("Interrupted by the server: InterruptedException")
    with dg.DagsterInstance.ephemeral() as opened, pytest.raises(PushError, match="Interrupted by the server"):
        materialize(pushing(error), "shop", on=opened)


@pytest.mark.parametrize("home", ["relative", "/not/there"])
def test_an_unusable_dagster_home_is_named(home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", home)
    with pytest.raises(FixConfiguration, match="DAGSTER_HOME"), instance(tmp_path):
        pass
