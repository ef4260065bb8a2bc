"""Jobs over one client of BigQuery: bounded in retries and time, results checked to be whole, errors by what to do.

The driver is imported inside functions. A client serves one thread and one read.
"""

from __future__ import annotations

import concurrent.futures
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from mc_push_dagster.errors import (
    BrokenContract,
    FixAccess,
    FixConfiguration,
    PushError,
    WarehouseUnavailable,
)
from mc_push_dagster.warehouses._bigquery_sql import Place, Statement
from mc_push_dagster.warehouses.base import Connect

if TYPE_CHECKING:
    from mc_push_dagster.warehouses._bigquery_settings import BigQueryOptions

log = logging.getLogger(__name__)

Row = dict[str, Any]
"""One row by column name."""

REQUEST_SECONDS = 60.0
"""How long one HTTP request may wait for its answer."""


class Denied(FixAccess):
    """A permission is missing (403 accessDenied)."""


class Missing(FixAccess):
    """No such project, region, dataset or table (404), or it is hidden from us."""


class StatementFailed(BrokenContract):
    """BigQuery refused a statement of ours for another reason."""


class TooLong(WarehouseUnavailable):
    """A job did not end in its time."""


class TooMuch(WarehouseUnavailable):
    """The answer of one statement is too large, or takes too much to make."""


class OverQuota(WarehouseUnavailable):
    """A quota is used up (403 quotaExceeded): asking again would use more of it."""


UNREADABLE = (Denied, Missing, StatementFailed, TooLong, TooMuch, OverQuota)
"""What ends the reading of one place and not of the others."""

_QUOTA = {"quotaExceeded", "billingTierLimitExceeded"}
_TOO_MUCH = {"responseTooLarge", "resourcesExceeded"}
_BUSY = {
    "backendError",
    "badGateway",
    "internalError",
    "jobBackendError",
    "jobInternalError",
    "jobRateLimitExceeded",
    "rateLimitExceeded",
    "tableUnavailable",
}


def driver_errors() -> tuple[type[Exception], ...]:
    """What the client raises: its own errors, those of its credentials and those of its HTTP library."""
    try:
        import requests
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
    except ImportError:  # the extra is not installed, which is on its way to the user as an error of its own
        return ()
    return (GoogleAPIError, GoogleAuthError, requests.RequestException, concurrent.futures.TimeoutError, OSError)


def translate(error: Exception) -> PushError:
    """Say what the caller can do about a client's error, in its first line."""
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    if isinstance(error, api.RetryError) and isinstance(error.cause, Exception):
        return translate(error.cause)
    reason, text = reason_of(error), first_line(error)
    if isinstance(error, api.Unauthorized | auth.RefreshError):
        return FixAccess(f"BigQuery refused the credentials (expired, revoked or of another project): {text}")
    if isinstance(error, auth.DefaultCredentialsError):
        return FixConfiguration(f"BigQuery: no credentials: {text}")
    if reason in _QUOTA:
        return OverQuota(f"BigQuery: a quota is used up: {text}")
    if reason in _TOO_MUCH or (reason == "invalidQuery" and "attempted to read too many" in text):
        return TooMuch(f"BigQuery: too much for one statement: {text}")
    if isinstance(error, concurrent.futures.TimeoutError) or reason in ("stopped", "timeout"):
        return TooLong(f"BigQuery: a job took longer than timeout_seconds allows: {text}")
    if reason in _BUSY:
        return WarehouseUnavailable(f"BigQuery did not answer: {text}")
    if isinstance(error, api.NotFound):
        return Missing(text)
    if isinstance(error, api.Forbidden):
        return Denied(text)
    if isinstance(error, api.ClientError) and not isinstance(error, api.TooManyRequests):
        return StatementFailed(f"BigQuery refused a statement: {text}")
    return WarehouseUnavailable(f"BigQuery did not answer: {text}")


def reason_of(error: Exception) -> str:
    """The machine-readable reason of an API error, e.g. `accessDenied`; empty where there is none."""
    details = getattr(error, "errors", None) or ()
    return str(details[0].get("reason", "")) if details and isinstance(details[0], dict) else ""


def first_line(error: Exception) -> str:
    details = getattr(error, "errors", None) or ()
    said = details[0].get("message") if details and isinstance(details[0], dict) else None
    lines = [line.strip() for line in str(said or getattr(error, "message", None) or error).splitlines()]
    return (next((line for line in lines if line), None) or type(error).__name__)[:300]


@dataclass
class Counts:
    """What a read has cost so far."""

    jobs: int = 0
    table_gets: int = 0


@dataclass
class Reader:
    """Runs jobs and reads their rows over one client; for use in a `with` block, by one thread."""

    connect: Connect
    options: BigQueryOptions
    sleep: Callable[[float], None] = time.sleep
    job_attempts: int = 3
    first_wait: float = 1.0
    """Seconds before a request is sent a second time; doubled for each further attempt."""
    counts: Counts = field(default_factory=Counts)
    _client: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        client, self._client = self._client, None
        if client is not None:
            log.info("BigQuery: %d jobs, %d tables asked one by one", self.counts.jobs, self.counts.table_gets)
            with suppress(*driver_errors()):  # what is being thrown away may be broken already
                client.close()

    @property
    def client(self) -> Any:
        if self._client is None:
            try:
                self._client = self.connect()
            except driver_errors() as error:
                raise translate(error) from error
        return self._client

    @property
    def project(self) -> str:
        """The project that our jobs run in."""
        return str(self.client.project)

    @property
    def email(self) -> str | None:
        """The service account we are, where the credentials say so."""
        return getattr(getattr(self.client, "_credentials", None), "service_account_email", None)

    def rows(self, statement: Statement, place: Place) -> Iterator[Row]:
        """Stream the rows of a statement; the server keeps the result, so that a page that fails is asked for again.

        Raises:
            Denied, Missing, StatementFailed, TooLong, TooMuch, OverQuota: if this statement cannot be answered.
            WarehouseUnavailable: if BigQuery does not answer within the time; the rows given before are right, but not
                all.
            FixAccess: if the credentials are refused.
        """
        for attempt in range(1, self.job_attempts + 1):
            begun = False
            try:
                for page in self._pages(statement, place):
                    begun = True
                    yield from page
                return
            except driver_errors() as error:
                # A job that failed by BigQuery's own fault is started anew (reasons jobBackendError, jobInternalError,
                # jobRateLimitExceeded); HTTP errors were retried already.
                if begun or attempt == self.job_attempts or not reason_of(error).startswith("job"):
                    raise translate(error) from error
                self.sleep(float(2**attempt))

    def _pages(self, statement: Statement, place: Place) -> Iterator[Iterator[Row]]:
        job = self._start(statement, place)
        found = job.result(
            page_size=self.options.page_size, retry=self._retry(), job_retry=None, timeout=self.options.timeout_seconds
        )
        expected, count, seen = found.total_rows, 0, set()
        for page in found.pages:
            count += page.num_items
            token = found.next_page_token
            if token in seen or (expected is not None and count > expected):
                raise WarehouseUnavailable(f"BigQuery gave the same page of a result twice: {place}")
            if token is not None:
                seen.add(token)
            yield (dict(row.items()) for row in page)
        if expected is not None and count != expected:
            raise WarehouseUnavailable(f"BigQuery gave {count} of {expected} rows of a result: {place}")

    def dry_run(self, statement: Statement, place: Place) -> None:
        """Check a statement and the right to run it; nothing is run and nothing billed.

        Raises:
            As `rows`.
        """
        try:
            self._start(statement, place, dry=True)
        except driver_errors() as error:
            raise translate(error) from error

    def _start(self, statement: Statement, place: Place, *, dry: bool = False) -> Any:
        from google.cloud import bigquery

        config = bigquery.QueryJobConfig(
            query_parameters=[bigquery.ScalarQueryParameter(p.name, p.kind, p.value) for p in statement.parameters],
            labels={self.options.job_label: "own"},
            use_legacy_sql=False,
            use_query_cache=False,
            dry_run=dry,
        )
        if not dry:
            config.job_timeout_ms = self.options.timeout_seconds * 1000
        self.counts.jobs += not dry
        # The client's own way to restart failed jobs waits up to ten minutes whatever we say: it is off, see `rows`.
        return self.client.query(
            statement.text,
            job_config=config,
            location=place.region,
            retry=self._retry(),
            timeout=self._request_seconds,
            job_retry=None,
        )

    def datasets(self, project: str) -> dict[str, str]:
        """The region of each dataset that may be seen, by name, hidden ones left out; one request a thousand.

        Raises:
            As `rows`.
        """
        found: dict[str, str] = {}
        tokens: set[str] = set()
        try:
            listed = self.client.list_datasets(
                project=project, page_size=1000, retry=self._retry(), timeout=self._request_seconds
            )
            for page in listed.pages:
                for item in page:
                    # The client shows no location of a listed dataset; the answer has it (REST, "datasets.list").
                    found[item.dataset_id] = str(item._properties.get("location", "")).lower()
                if listed.next_page_token in tokens:
                    raise WarehouseUnavailable(f"BigQuery gave the same page of datasets twice: {project}")
                if listed.next_page_token is not None:
                    tokens.add(listed.next_page_token)
        except driver_errors() as error:
            raise translate(error) from error
        return found

    def dataset_region(self, project: str, dataset: str) -> str:
        """Where a dataset is.

        Raises:
            As `rows`.
        """
        try:
            found = self.client.get_dataset(f"{project}.{dataset}", retry=self._retry(), timeout=self._request_seconds)
        except driver_errors() as error:
            raise translate(error) from error
        return str(found.location or "").lower()

    def measures(self, project: str, dataset: str, table: str) -> tuple[int | None, int | None, datetime | None]:
        """Rows, bytes and last modification of one table, by tables.get.

        Raises:
            As `rows`.
        """
        from google.cloud.bigquery import DatasetReference

        self.counts.table_gets += 1
        try:
            found = self.client.get_table(
                DatasetReference(project, dataset).table(table), retry=self._retry(), timeout=self._request_seconds
            )
        except driver_errors() as error:
            raise translate(error) from error
        return found.num_rows, found.num_bytes, found.modified

    @property
    def _request_seconds(self) -> float:
        return min(REQUEST_SECONDS, float(self.options.timeout_seconds))

    def _retry(self) -> Any:
        from google.cloud.bigquery import DEFAULT_RETRY

        # The client itself retries 429, 5xx and broken connections; what it takes for its time limit is ours.
        return DEFAULT_RETRY.with_timeout(float(self.options.timeout_seconds)).with_delay(initial=self.first_wait)
