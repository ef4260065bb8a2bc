"""What a user configures for one warehouse: the same model serves the Dagster component and the command line.

A file is YAML. A Dagster component's `defs.yaml` serves as it stands: its `attributes` are read, what only Dagster
needs is passed over. `{{ env('NAME') }}` and `{{ env('NAME', 'default') }}` are filled in from the environment, as
Dagster does it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.model import ChangeSource, Scope, TablePattern, Target
from mc_push_dagster.warehouses import load
from mc_push_dagster.warehouses.base import Connect, Warehouse

HOME_VARIABLE = "MC_PUSH_HOME"


def home(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder for ledger, outbox and the sandbox's data: `$MC_PUSH_HOME`, or `.mc_push` in the working folder."""
    return Path(environment.get(HOME_VARIABLE) or ".mc_push")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Patterns = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]


class ScopeConfig(_Model):
    """Which tables: patterns `database.schema.table` with `*` and `?`, compared without regard to case."""

    include: Patterns = ()
    exclude: Patterns = ()

    def scope(self) -> Scope:
        try:
            return Scope(
                include=tuple(TablePattern.parse(p) for p in self.include),
                exclude=tuple(TablePattern.parse(p) for p in self.exclude),
            )
        except ValueError as error:
            raise FixConfiguration(f"scope: {error}") from error


class MonteCarloConfig(_Model):
    """Whom to push to. Keys are never configured here: they come from the environment (see the README)."""

    resource_uuid: str | None = Field(
        default=None, description="UUID of the Monte Carlo resource (warehouse); default: $MCD_RESOURCE_UUID."
    )
    resource_type: str | None = Field(default=None, description="Overrides the warehouse's own, e.g. data-lake.")
    log_type: str | None = Field(default=None, description="Overrides the warehouse's own, e.g. hive-s3.")
    ingest_endpoint: str | None = Field(default=None, description="Default: $MC_PUSH_INGEST_ENDPOINT, else production.")
    api_endpoint: str | None = Field(default=None, description="Default: $MC_PUSH_API_ENDPOINT, else production.")


class DeliveryConfig(_Model):
    """How bodies are cut and sent."""

    max_events: int = Field(default=500, ge=1, description="Events in one request (push-ingest-api: about 500).")
    max_bytes: int = Field(default=1_000_000, ge=10_000, description="Size of one request's body, in bytes.")
    measure: Literal["raw", "gzip"] = Field(
        default="raw",
        description="What max_bytes limits: the JSON itself (safe), or its gzip size (as documented).",
    )
    concurrency: int = Field(default=8, ge=1, le=64, description="Requests under way at once.")
    timeout_seconds: float = Field(default=60, gt=0, description="How long one request may take to be answered.")
    deadline_seconds: float = Field(default=900, gt=0, description="How long a push retries before it gives up.")


def _one_form(value: str) -> str:
    try:
        return str(UUID(value.strip()))
    except ValueError:
        raise ValueError("not a UUID; it stands in the address of Settings -> Integrations -> the warehouse") from None


class OtherResourceConfig(_Model):
    """A Monte Carlo resource that other pushes or another integration feed; lineage may begin in it."""

    resource_uuid: Annotated[str, AfterValidator(_one_form)] = Field(description="UUID of that resource.")
    resource_type: str = Field(min_length=1, description="Its type as Monte Carlo knows it, e.g. snowflake.")


class PushConfig(_Model):
    """One warehouse and how it is pushed."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    name: str = Field(pattern=r"^[A-Za-z0-9_]+$", description="Names the assets: monte_carlo/<name>/...")
    warehouse: dict[str, Any] = Field(description="`type` (a registry name) and that warehouse's settings.")
    scope: ScopeConfig = ScopeConfig()
    monte_carlo: MonteCarloConfig = MonteCarloConfig()
    delivery: DeliveryConfig = DeliveryConfig()
    ledger: str | None = Field(default=None, description="SQLAlchemy URL; default: a SQLite file in the home folder.")
    store: str | None = Field(default=None, description="Outbox: a folder or fsspec URL; default: in the home folder.")
    schema_every_hours: int = Field(
        default=24,
        ge=0,
        description="Columns are read this often, and whenever a fingerprint changed; 0: with every push.",
    )
    forbid_change_sources: tuple[ChangeSource, ...] = Field(
        default=(), description="Data-change times of these provenances are not pushed, e.g. `ddl polluted`."
    )
    demo: bool = Field(
        default=False,
        description="Build the demo shop at warehouse.path on first use; push to a sandbox only, whatever the keys.",
    )
    redact_query_text: bool = Field(
        default=False,
        description="Query logs leave without literals, comments and error texts; lineage is unchanged by it.",
    )
    lineage_window_hours: int = Field(default=24, ge=1, description="How far back the query log is read for lineage.")
    minimum_confidence: float = Field(default=0.5, ge=0, le=1, description="Edges below are kept, not pushed.")
    lineage_second_opinion: Literal["auto"] | bool = Field(
        default="auto",
        description="Ask a second parser (extra `second-opinion`): its agreement raises an edge's confidence, its "
        "disagreement lowers it. `auto`: where it is installed.",
    )
    lineage_workers: int = Field(default=1, ge=1, le=64, description="Processes that share the parsing of SQL.")
    other_resources: dict[str, OtherResourceConfig] = Field(
        default={},
        description="Databases that are other Monte Carlo resources: name or pattern (`*`, `?`) to `resource_uuid` and "
        "`resource_type`; the first that matches counts. Lineage from their tables crosses resources.",
    )

    @property
    def ledger_url(self) -> str:
        # In a URL these two mean something else.
        path = str(home() / "ledger.sqlite").replace("%", "%25").replace("?", "%3F")
        return self.ledger or f"sqlite:///{path}"

    @property
    def store_url(self) -> str:
        return self.store or str(home() / "outbox")

    def other_resource(self, database: str) -> Target | None:
        """The resource that `other_resources` gives a database to; None if it is the one that is pushed to."""
        for pattern, resource in self.other_resources.items():
            if TablePattern(database=pattern).matches_database(database):
                # Lineage names no log type.
                return Target(resource_uuid=resource.resource_uuid, resource_type=resource.resource_type, log_type="")
        return None

    @property
    def warehouse_type(self) -> str:
        kind = self.warehouse.get("type")
        if not isinstance(kind, str):
            raise FixConfiguration(f"warehouse {self.name!r}: `type` is missing; name one of the registry, e.g. duckdb")
        return kind

    def open_warehouse(self, connect: Connect | None = None) -> Warehouse:
        """Build the configured warehouse; no connection is opened. `connect` replaces the settings' own way to connect.

        Raises:
            FixConfiguration: if the type is unknown or a setting is wrong.
        """
        cls = load(self.warehouse_type)
        given = {k: v for k, v in self.warehouse.items() if k != "type"}
        try:
            settings = cls.settings.model_validate(given)
        except ValidationError as error:
            raise FixConfiguration(f"warehouse {self.name!r} ({cls.name}): {one_sentence(error)}") from error
        warehouse = cls.from_settings(settings, scope=self.scope.scope())
        if connect is not None:
            warehouse.connect_by(connect)
        return warehouse


def one_sentence(error: ValidationError) -> str:
    """Say in one line which settings are wrong, without their values."""
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['msg'].lower()}" for e in error.errors()[:5])


def parse(data: Any, *, source: str) -> PushConfig:
    """Read a configuration from plain data.

    Raises:
        FixConfiguration: if it is not a mapping or does not validate.
    """
    if not isinstance(data, Mapping):
        raise FixConfiguration(f"{source}: expected a mapping with `name` and `warehouse`")
    try:
        return PushConfig.model_validate(data)
    except ValidationError as error:
        raise FixConfiguration(f"{source}: {one_sentence(error)}") from error


def read(path: Path, *, environment: Mapping[str, str] = os.environ) -> PushConfig:
    """Read a configuration file (see the module's words for its form).

    Raises:
        FixConfiguration: if the file is missing, is no YAML, names an unset variable, or does not validate.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FixConfiguration(f"configuration {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FixConfiguration(f"{path} is not YAML: it is not UTF-8 text") from error
    try:
        return parse(fill_in(_ours(yaml.safe_load(text), path), environment), source=str(path))
    except yaml.YAMLError as error:
        raise FixConfiguration(f"{path} is not YAML: {_yaml_reason(error)}") from error


def _ours(data: Any, path: Path) -> Any:
    """What of a file is ours: of a Dagster component's attributes those of `PushConfig`, of any other file all.

    Dagster's own attributes may hold templates that only Dagster can fill in.
    """
    if not isinstance(data, Mapping):
        return data
    if "attributes" in data and "type" in data:
        data = data["attributes"]
        return {k: v for k, v in data.items() if k in PushConfig.model_fields} if isinstance(data, Mapping) else data
    if unknown := [key for key in data if key not in PushConfig.model_fields]:
        raise FixConfiguration(
            f"{path}: unknown setting {unknown[0]!r}; known are {', '.join(PushConfig.model_fields)} "
            "(what only Dagster needs stands in a component's defs.yaml)"
        )
    return data


def _yaml_reason(error: yaml.YAMLError) -> str:
    """Where and why, without the text itself: it may hold a secret."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return "it holds a character that YAML does not allow"
    problem = (getattr(error, "problem", None) or "").split(", but ")[0]
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem or 'not understood'}"


def fill_in(value: Any, environment: Mapping[str, str]) -> Any:
    """Fill in the templates of a YAML value; what is filled in is text, as the environment holds it.

    Never a number or None: a password `1e5` would become 100000.0. Fields that are numbers read the text themselves.

    Raises:
        FixConfiguration: if a variable is not set, or the template is none.
    """
    from jinja2 import Environment, StrictUndefined
    from jinja2.exceptions import TemplateError

    class Env:
        def __call__(self, name: str, default: Any = None) -> Any:
            found = environment.get(name, default)
            if found is None:
                raise FixConfiguration(f"the configuration needs the environment variable {name}, which is not set")
            return found

        def __getattr__(self, name: str) -> Any:
            if name.startswith(("jinja_", "__")):  # jinja asks objects for marks of its own
                raise AttributeError(name)
            return self(name)

    templates = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701  no HTML is made

    def walk(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: walk(v) for k, v in node.items()}
        if isinstance(node, list):
            return [walk(v) for v in node]
        if isinstance(node, str) and "{{" in node:
            try:
                return templates.from_string(node).render(env=Env())
            except TemplateError as error:
                raise FixConfiguration(f"template {node!r}: {error}") from error
        return node

    return walk(value)
