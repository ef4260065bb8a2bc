"""What a user may set for BigQuery: how to read (`BigQueryOptions`), and how to connect (`BigQuerySettings`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from mc_push_dagster.warehouses._query_log import QueryLogFilter
from mc_push_dagster.warehouses.base import Settings

OWN_LABEL = "mc-push-dagster"
"""The default label key of our jobs, by which they are left out of the log."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")

_PROJECT = re.compile(r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_REGION = re.compile(r"[a-z]+(?:-[a-z0-9]+)*")
_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def _project(value: str) -> str:
    if _PROJECT.fullmatch(value) is None:
        raise ValueError(
            "not a project id (6 to 30 lower-case letters, digits and hyphens; not the number or the name)"
        )
    return value


def _region(value: str) -> str:
    lowered = value.lower().removeprefix("region-")
    if _REGION.fullmatch(lowered) is None:
        raise ValueError("not a location, e.g. us, eu, europe-west3")
    return lowered


def _label(value: str) -> str:
    if _LABEL.fullmatch(value) is None:
        raise ValueError("not a label key (a lower-case letter, then lower-case letters, digits, - and _)")
    return value


Project = Annotated[str, AfterValidator(_project)]
Region = Annotated[str, AfterValidator(_region)]
Label = Annotated[str, AfterValidator(_label)]


class BigQueryOptions(Settings):
    """How BigQuery is read, whoever opens the connection."""

    projects: tuple[Project, ...] = Field(default=(), description="Projects to read; default: the connection's own.")
    regions: tuple[Region, ...] = Field(
        default=(),
        description="Locations to read, e.g. us, eu, europe-west3; default: where the projects have datasets.",
    )
    jobs: Literal["project", "user", "folder", "organization"] = Field(
        default="project",
        description="Whose jobs make query log and lineage: of the projects, of our own user, or of all projects in "
        "their folder or organization.",
    )
    longest_job_hours: int = Field(
        default=48,
        ge=1,
        le=24 * 14,
        description="No job takes longer: how far before a window its jobs may have begun.",
    )
    shards: Literal["fold", "each"] = Field(
        default="fold",
        description="Date-sharded tables (events_20260131): one asset `events_*` (fold), or every shard by itself.",
    )
    table_get_limit: int = Field(
        default=200,
        ge=0,
        le=100_000,
        description="Tables that TABLE_STORAGE does not show are asked one by one, at most so many a read.",
    )
    query_log: QueryLogFilter = QueryLogFilter()
    job_label: Label = Field(default=OWN_LABEL, description="Label key that marks our own jobs.")
    timeout_seconds: int = Field(
        default=300, ge=1, le=21_600, description="How long one job may take, retries included."
    )
    page_size: int = Field(default=5000, ge=1, le=100_000, description="Rows fetched at a time.")


class BigQuerySettings(BigQueryOptions):
    """A connection by settings: a service-account key, or application default credentials where none is given."""

    job_project: Project | None = Field(
        default=None, description="Project that runs our jobs and pays for them; default: the credentials' own."
    )
    service_account_key: SecretStr | None = Field(
        default=None, description="Key of a service account: its JSON, or that in base64."
    )
    service_account_file: Path | None = Field(default=None, description="File with such a key.")
    api_endpoint: str | None = Field(
        default=None, description="Another address of the API: a private endpoint, or an emulator on loopback."
    )

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if self.service_account_key is not None and self.service_account_file is not None:
            raise ValueError("give service_account_key or service_account_file, not both")
        if self.api_endpoint is not None:
            parts = urlsplit(self.api_endpoint)
            if parts.scheme not in ("https", "http") or not parts.hostname:
                raise ValueError("api_endpoint must be an address like https://host")
            if parts.scheme == "http" and parts.hostname not in LOOPBACK:
                raise ValueError("api_endpoint: http would send the token in clear text: it serves loopback hosts only")
        return self

    @property
    def is_loopback(self) -> bool:
        return self.api_endpoint is not None and urlsplit(self.api_endpoint).hostname in LOOPBACK
