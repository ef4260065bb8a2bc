"""Clients of BigQuery, made by settings or by a user's own resource; the process's own environment stays as it is.

The driver is imported inside functions. A client serves one thread and one read.
"""

from __future__ import annotations

import base64
import binascii
import json
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

from mc_push_dagster.errors import FixConfiguration, MissingExtra
from mc_push_dagster.warehouses.base import Connect
from mc_push_dagster.warehouses.lent import close, connect_through

if TYPE_CHECKING:
    from mc_push_dagster.warehouses._bigquery_settings import BigQuerySettings

SCOPE = "https://www.googleapis.com/auth/bigquery"


def connect_by(settings: BigQuerySettings) -> Connect:
    """A factory of clients by settings; nothing is opened or imported until it is called, no environment is changed."""

    def connect() -> Any:
        try:
            from google.cloud import bigquery
        except ImportError as error:
            raise MissingExtra(what="BigQuery", extra="bigquery") from error
        credentials, own_project = _credentials(settings)
        project = settings.job_project or own_project or next(iter(settings.projects), None)
        if project is None:
            raise FixConfiguration("BigQuery: the credentials name no project: set `job_project`")
        return bigquery.Client(
            project=project,
            credentials=credentials,
            client_options={"api_endpoint": settings.api_endpoint} if settings.api_endpoint else None,
        )

    return connect


def _credentials(settings: BigQuerySettings) -> tuple[Any, str | None]:
    """Credentials and the project they belong to."""
    import google.auth
    from google.auth.credentials import AnonymousCredentials
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
    from google.oauth2 import service_account

    if settings.service_account_key is not None or settings.service_account_file is not None:
        key = _key(settings)
        try:
            made = service_account.Credentials.from_service_account_info(key, scopes=[SCOPE])
        except (ValueError, GoogleAuthError):
            # The library's message may quote the key: it is left out.
            raise FixConfiguration("service account key: it is not the JSON key of a service account") from None
        return made, key.get("project_id")
    if settings.is_loopback:
        return AnonymousCredentials(), None
    try:
        return google.auth.default(scopes=[SCOPE])
    except DefaultCredentialsError as error:
        raise FixConfiguration(
            "BigQuery: there are no application default credentials: run `gcloud auth application-default login`, or "
            "set service_account_key or service_account_file"
        ) from error


def _key(settings: BigQuerySettings) -> dict[str, Any]:
    if settings.service_account_key is not None:
        text = settings.service_account_key.get_secret_value().strip()
        with suppress(binascii.Error, UnicodeDecodeError):
            text = text if text.startswith("{") else base64.b64decode(text, validate=False).decode()
    else:
        path = settings.service_account_file
        assert path is not None
        try:
            text = path.expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FixConfiguration(f"service_account_file {path}: it cannot be read: {error}") from error
    try:
        key = json.loads(text)
    except ValueError:
        raise FixConfiguration("service account key: it is no JSON") from None
    if not isinstance(key, dict):
        raise FixConfiguration("service account key: it is not the JSON key of a service account")
    return key


_one_at_a_time = Lock()


def connect_over(resource: Any) -> Connect:
    """A factory of clients over a user's own resource, e.g. `dagster_gcp.BigQueryResource`; each is closed by us.

    That resource, given `gcp_credentials`, sets GOOGLE_APPLICATION_CREDENTIALS of the whole process while its client is
    in use, and refuses a second one. A client needs the variable only while it is made: here the resource is left again
    at once, one at a time, so that several warehouses may be read side by side.

    Raises:
        FixConfiguration: if the resource cannot give a client.
    """
    connect = connect_through(resource, prepare=_check, end=close)

    def connect_and_leave() -> Any:
        with _one_at_a_time, resource.get_client() as client:
            _check(client)
            return client

    return connect_and_leave if getattr(resource, "gcp_credentials", None) else connect


def _check(client: Any) -> None:
    if not callable(getattr(client, "query", None)) or not hasattr(client, "project"):
        raise FixConfiguration(
            f"the BigQuery resource must give a google.cloud.bigquery.Client; it gave a {type(client).__name__}"
        )
