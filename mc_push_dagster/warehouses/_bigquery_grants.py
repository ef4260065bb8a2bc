"""Which IAM role or permission is missing; kept beside docs/bigquery.md, which names the same.

Sources: cloud.google.com/bigquery/docs, section "Required permissions" of each INFORMATION_SCHEMA view.
"""

from __future__ import annotations

from collections.abc import Mapping

from mc_push_dagster.warehouses._bigquery_sql import Place

_METADATA = ("roles/bigquery.metadataViewer", "bigquery.tables.get and bigquery.tables.list")
_ALL_JOBS = ("roles/bigquery.resourceViewer", "bigquery.jobs.listAll")

NEEDS: Mapping[str, tuple[str, str]] = {
    "TABLES": _METADATA,
    "COLUMNS": _METADATA,
    "COLUMN_FIELD_PATHS": _METADATA,
    "TABLE_STORAGE": _METADATA,
    "TABLE_OPTIONS": _METADATA,
    "VIEWS": _METADATA,
    "SCHEMATA_LINKS": ("roles/bigquery.metadataViewer", "bigquery.datasets.get"),
    "JOBS_BY_PROJECT": _ALL_JOBS,
    "JOBS_BY_USER": ("roles/bigquery.user", "bigquery.jobs.list"),
    "JOBS_BY_FOLDER": _ALL_JOBS,
    "JOBS_BY_ORGANIZATION": _ALL_JOBS,
}

_LEVEL = {"JOBS_BY_FOLDER": "the folder", "JOBS_BY_ORGANIZATION": "the organization"}


def grant_for(view: str, place: Place, member: str | None) -> str:
    """The role that lets us read a view, with its permission, and on what."""
    role, permission = NEEDS[view]
    if view in _LEVEL:
        return f"grant {role} ({permission}) on {_LEVEL[view]} of {place.project} to {who(member)}"
    if place.dataset is not None:
        return f"grant {role} ({permission}) on the dataset {place.project}:{place.dataset} to {who(member)}"
    return binding(place.project, role, member) + f" ({permission})"


def running(project: str, member: str | None) -> str:
    """The role that lets us run jobs at all."""
    return binding(project, "roles/bigquery.jobUser", member) + " (bigquery.jobs.create)"


def binding(project: str, role: str, member: str | None) -> str:
    return f"gcloud projects add-iam-policy-binding {project} --member={who(member)} --role={role}"


def who(member: str | None) -> str:
    return f"serviceAccount:{member}" if member else "<member>"
