"""`MonteCarloPushComponent`: one warehouse in a `defs.yaml`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import dagster as dg
from dagster.components import DefsStateConfig, DefsStateConfigArgs, ResolvedDefsStateConfig
from pydantic import ConfigDict, Field

from mc_push_dagster.config import PushConfig, fill_in
from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.model import ChangeSource
from mc_push_dagster.orchestration import assets
from mc_push_dagster.orchestration._compat import Described, TranslationFn, TranslationFnResolver, state_storage_at_hand
from mc_push_dagster.orchestration.build import build_monte_carlo_definitions, state_key
from mc_push_dagster.orchestration.catalog_state import write_state
from mc_push_dagster.orchestration.plan import Plan
from mc_push_dagster.orchestration.resources import PushStation
from mc_push_dagster.orchestration.scaffolder import MonteCarloPushScaffolder
from mc_push_dagster.orchestration.settings import (
    DagsterSettings,
    DeliveryAttributes,
    MonteCarloAttributes,
    OtherResourceAttributes,
    ScopeAttributes,
)
from mc_push_dagster.orchestration.tables import TableProps

if TYPE_CHECKING:
    from mc_push_dagster.assembly import Station

_VERSIONED = DefsStateConfigArgs.versioned_state_storage().management_type


def as_text(context: dg.ResolutionContext, given: Any) -> Any:
    """Fill in templates as text where the environment alone answers them, else as Dagster does.

    Dagster reads what it filled in as a Python value: a password of digits would become a number.
    """
    if isinstance(given, Mapping):
        return {name: as_text(context, value) for name, value in given.items()}
    if isinstance(given, list):
        return [as_text(context, value) for value in given]
    try:
        return fill_in(given, os.environ)
    except FixConfiguration:
        return context.resolve_value(given)


@dg.scaffold_with(MonteCarloPushScaffolder)
class MonteCarloPushComponent(dg.StateBackedComponent, PushConfig, DagsterSettings, Described):
    """Push one warehouse's catalog, lineage and query logs to Monte Carlo, every hour, and check that they arrived.

    The warehouse's own tables appear as external assets with columns and lineage. All attributes of `PushConfig` are
    attributes here, so that one file serves Dagster and the `mc-push` command line:

    .. code-block:: yaml

        type: mc_push_dagster.MonteCarloPushComponent
        attributes:
          name: shop
          warehouse:
            type: duckdb
            path: "{{ env('SHOP_DUCKDB', 'shop.duckdb') }}"
          schedule:
            hourly_minute: 5
            status: RUNNING
          owners: ["team:data-platform"]
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    # Narrower types than PushConfig's are safe: the model is frozen, so that nobody can assign the wider ones.
    scope: ScopeAttributes = ScopeAttributes()  # pyright: ignore[reportIncompatibleVariableOverride]
    monte_carlo: MonteCarloAttributes = MonteCarloAttributes()  # pyright: ignore[reportIncompatibleVariableOverride]
    delivery: DeliveryAttributes = DeliveryAttributes()  # pyright: ignore[reportIncompatibleVariableOverride]
    other_resources: dict[str, OtherResourceAttributes] = Field(  # pyright: ignore[reportIncompatibleVariableOverride]
        default={}, description=PushConfig.model_fields["other_resources"].description
    )
    warehouse: Annotated[
        dict[str, Any], dg.Resolver(lambda context, given: as_text(context, given), model_field_type=dict[str, Any])
    ] = Field(description=PushConfig.model_fields["warehouse"].description)
    forbid_change_sources: Annotated[
        tuple[ChangeSource, ...],
        dg.Resolver(lambda context, given: tuple(context.resolve_value(given)), model_field_type=list[str]),
    ] = Field(default=(), description=PushConfig.model_fields["forbid_change_sources"].description)
    translation: (
        Annotated[
            TranslationFn[TableProps],
            TranslationFnResolver(template_vars_for_translation_fn=lambda table: {"table": table}),
        ]
        | None
    ) = Field(default=None, description="How a table's asset is named and attributed; `table` and `spec` are in scope.")
    defs_state: ResolvedDefsStateConfig = DefsStateConfigArgs(
        # A versioned state can be replaced by any run; refreshing on each load would read the warehouse on each load.
        management_type=_VERSIONED,
        refresh_if_dev=False,
    )

    @property
    def config(self) -> PushConfig:
        """What the flow needs to know, without what only Dagster needs."""
        return PushConfig.model_validate(self.model_dump(include=set(PushConfig.model_fields)))

    @property
    def settings(self) -> DagsterSettings:
        return DagsterSettings.model_validate({name: getattr(self, name) for name in DagsterSettings.model_fields})

    @property
    def defs_state_config(self) -> DefsStateConfig:
        return DefsStateConfig.from_args(self.defs_state, default_key=state_key(self.name))

    @property
    def _plan(self) -> Plan:
        return Plan(config=self.config, settings=self.settings, state_key=self.defs_state_config.key)

    def get_asset_spec(self, table: TableProps, spec: dg.AssetSpec) -> dg.AssetSpec:
        """Return the asset that shows `table`; override it to change what `translation` cannot."""
        return self.translation(spec, table) if self.translation else spec

    def get_push_spec(self, asset: str, spec: dg.AssetSpec) -> dg.AssetSpec:
        """Return the spec of `table_catalog`, `lineage_graph` or `query_logs`; override it to change one."""
        return spec

    def execute(self, context: dg.AssetExecutionContext, station: Station) -> Iterator[dg.MaterializeResult]:
        """Push what the run selected; override it to do something before, after or instead."""
        yield from assets.push(context, station, self._plan)

    def write_state_to_path(self, state_path: Path) -> None:
        """Read the warehouse's tables for `dg utils refresh-defs-state`; push runs do it by themselves.

        Raises:
            FixConfiguration: if a user's own resource opens the connection; only a run has it.
        """
        with PushStation(config=self.config).open() as station:
            write_state(station, self.represent_tables, state_path)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Build without the tables where no state can be kept: in a plain script, or without `defs_state_storage`."""
        versioned = self.defs_state.management_type is _VERSIONED
        if versioned and not state_storage_at_hand():
            return self.build_defs_from_state(context, None)
        return super().build_defs(context)

    def build_defs_from_state(self, context: dg.ComponentLoadContext, state_path: Path | None) -> dg.Definitions:
        return build_monte_carlo_definitions(
            self.config,
            self.settings,
            state_path=state_path,
            key_of_state=self.defs_state_config.key,
            get_asset_spec=self.get_asset_spec,
            get_push_spec=self.get_push_spec,
            execute=self.execute,
        )
