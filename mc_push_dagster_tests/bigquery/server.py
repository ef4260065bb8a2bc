"""A BigQuery on loopback for the real client: the REST calls it makes, SQL run by `engine`, faults on demand.

Rules of BigQuery that we imitate name their source. What it does not show: docs/bigquery.md.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote

import duckdb
import sqlglot
import uvicorn

from mc_push_dagster_tests.bigquery.engine import JOBS, Answer, Engine, bound, cell, read

NEVER = float("inf")
ME = "pusher@shop-project.iam.gserviceaccount.com"


@dataclass
class Fault:
    """What happens instead of an answer to requests that match `on` (method, path, then the SQL), `times` times."""

    on: str
    times: float = 1
    status: int = 503
    reason: str = "backendError"
    message: str = "injected"
    hang_up: bool = False
    """The connection is cut in the middle of the answer."""
    in_job: bool = False
    """The job is accepted and fails."""


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


@dataclass
class Job:
    resource: dict[str, Any]
    answer: Answer
    error: Refused | None


@dataclass
class BigQuery:
    """The state of one loopback server."""

    engine: Engine = field(default_factory=Engine)
    url: str = ""
    now: datetime = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    datasets: dict[tuple[str, str], str] = field(default_factory=dict)
    """Region by project and dataset."""
    hidden: set[tuple[str, str]] = field(default_factory=set)
    """Datasets that exist and may not be read."""
    rest_tables: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    """What tables.get answers."""
    denied: list[str] = field(default_factory=list)
    """Patterns of `project.qualifier.VIEW` that may not be read."""
    faults: list[Fault] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    statements: list[dict[str, Any]] = field(default_factory=list)
    """The configuration of each job that was run, with its location."""
    own_jobs: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    """What our own jobs leave in the log, until it is read."""
    dry_runs: int = 0
    page_rows: int = 100_000
    loop_pages: bool = False
    lose_rows: int = 0
    tokens: set[str] | None = None
    """Access tokens that are still good; None: every caller is let in."""
    token_refused: bool = False
    tokens_given: int = 0

    def reset(self) -> None:
        self.engine.clear()
        self.__dict__.update(BigQuery(engine=self.engine, url=self.url).__dict__)

    def fill(
        self, view: str, rows: Iterable[Mapping[str, Any]], *, project: str = "shop-project", region: str = "us"
    ) -> None:
        self.engine.fill(view, rows, project=project, region=region)

    def asked(self, pattern: str) -> list[dict[str, Any]]:
        """The jobs whose SQL matches `pattern`."""
        return [asked for asked in self.statements if re.search(pattern, asked["query"]["query"])]

    def requested(self, pattern: str) -> list[str]:
        return [line for line in self.requests if re.search(pattern, line)]

    # --- the ASGI application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = json.loads(await _body(receive) or b"{}") if scope["path"] != "/token" else {}
        path = unquote(scope["path"])
        line = f"{scope['method']} {path}"
        self.requests.append(line)
        sql = str(body.get("configuration", {}).get("query", {}).get("query", ""))
        try:
            fault = self._fault(f"{line}\n{sql}")
            if fault is not None and fault.hang_up:
                await _cut_off(send)
                return
            if fault is not None and not fault.in_job:
                raise Refused(fault.status, fault.reason, fault.message)
            query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
            answer = self._answer(scope, path, body, query, fault)
            await _reply(send, 200, answer)
        except Refused as error:
            await _reply(send, error.status, _error(error))

    def _fault(self, text: str) -> Fault | None:
        fault = next((f for f in self.faults if f.times > 0 and re.search(f.on, text)), None)
        if fault is not None:
            fault.times -= 1
        return fault

    def _answer(
        self, scope: Any, path: str, body: dict[str, Any], query: dict[str, str], fault: Fault | None
    ) -> dict[str, Any]:
        if path == "/token":
            return self._token()
        self._authorize(scope)
        _, _, _, _, project, kind, *rest = path.split("/")
        if kind == "jobs" and scope["method"] == "POST":
            return self._insert(project, body, fault)
        if kind in ("jobs", "queries") and rest:
            job = self.jobs.get(rest[0])
            if job is None:
                raise Refused(404, "notFound", f"Not found: Job {project}:{rest[0]}")
            return job.resource if kind == "jobs" else self._page(job, query)
        if kind == "datasets" and not rest:
            return self._datasets(project, query)
        if kind == "datasets" and len(rest) == 1:
            return self._dataset(project, rest[0])
        return self._table(project, rest[0], rest[2])

    def _token(self) -> dict[str, Any]:
        if self.token_refused:
            raise Refused(400, "invalid_grant", "Invalid JWT Signature.")
        self.tokens_given += 1
        token = f"token-{self.tokens_given}"
        if self.tokens is not None:
            self.tokens.add(token)
        return {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}

    def _authorize(self, scope: Any) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"").decode().removeprefix("Bearer ")
        if self.tokens is not None and given not in self.tokens:
            raise Refused(401, "authError", "Invalid Credentials")

    # --- jobs

    def _insert(self, project: str, body: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
        configuration = body["configuration"]
        reference = body["jobReference"]
        job_id = reference.get("jobId") or uuid.uuid4().hex
        location = reference.get("location", "US").lower()
        dry = configuration.get("dryRun", False)
        answer, error = Answer(), None
        try:
            if fault is not None:
                raise Refused(fault.status, fault.reason, fault.message)
            answer = self._run(configuration["query"], location, dry=dry)
        except Refused as refused:
            error = refused
        if dry:
            self.dry_runs += 1
            if error is not None:
                raise error
        else:
            self.statements.append({**configuration, "location": location})
            self._log(project, job_id, location, configuration)
        state: dict[str, Any] = {"state": "DONE"}
        if error is not None:
            state["errorResult"] = {"reason": error.reason, "message": error.message}
        resource = {
            "kind": "bigquery#job",
            "id": f"{project}:{location}.{job_id}",
            "jobReference": {"projectId": project, "jobId": job_id, "location": location},
            "configuration": {"jobType": "QUERY", **configuration},
            "status": state,
            "statistics": {"creationTime": "1", "startTime": "1", "endTime": "2", "query": {"statementType": "SELECT"}},
        }
        self.jobs[job_id] = Job(resource, answer, error)
        return resource

    def _run(self, query: dict[str, Any], location: str, *, dry: bool) -> Answer:
        try:
            reading = read(query["query"], ME)
        except LookupError as error:
            raise Refused(404, "notFound", str(error)) from error
        except sqlglot.errors.SqlglotError as error:
            raise Refused(400, "invalidQuery", f"Syntax error: {error}") from error
        for project, qualifier, view in reading.views:
            self._may_read(project, qualifier, view, location)
        if dry:
            return Answer()
        if any(view.startswith("JOBS") for _, _, view in reading.views):
            self._write_log()
        parameters = {given["name"]: bound(given) for given in query.get("queryParameters", ())}
        try:
            return self.engine.run(reading, parameters)
        except duckdb.Error as error:
            raise Refused(400, "invalidQuery", str(error).splitlines()[0]) from error

    def _may_read(self, project: str, qualifier: str, view: str, location: str) -> None:
        name = f"{project}.{qualifier}.{view}"
        shown = f"{project}:{qualifier}.INFORMATION_SCHEMA.{view}"
        if any(re.search(pattern, name) for pattern in self.denied) or (project, qualifier) in self.hidden:
            raise Refused(
                403,
                "accessDenied",
                f"Access Denied: Table {shown}: User does not have permission to query table {shown}, or perhaps it "
                f"does not exist in location {location.upper()}.",
            )
        if not qualifier.startswith("region-") and (project, qualifier) not in self.datasets:
            raise Refused(404, "notFound", f"Not found: Dataset {project}:{qualifier} was not found in location US")

    def _log(self, project: str, job_id: str, location: str, configuration: dict[str, Any]) -> None:
        """BigQuery writes our own jobs into the log that we read."""
        labels = [{"key": key, "value": value} for key, value in configuration.get("labels", {}).items()]
        row = {
            "project_id": project,
            "job_id": job_id,
            "job_type": "QUERY",
            "state": "DONE",
            "query": configuration["query"]["query"],
            "user_email": ME,
            "labels": labels,
            "creation_time": self.now,
            "start_time": self.now,
            "end_time": self.now,
        }
        self.own_jobs.append((project, location, row))

    def _write_log(self) -> None:
        """Put our own jobs where they are read; only when they are, because it takes longer than most statements."""
        pending, self.own_jobs = self.own_jobs, []
        for place in {(project, location) for project, location, _ in pending}:
            rows = [row for project, location, row in pending if (project, location) == place]
            self.engine.fill(JOBS, rows, project=place[0], region=place[1])

    def _page(self, job: Job, query: dict[str, str]) -> dict[str, Any]:
        if job.error is not None:
            raise job.error
        fields, rows = job.answer.fields, job.answer.rows
        out: dict[str, Any] = {
            "kind": "bigquery#getQueryResultsResponse",
            "jobReference": job.resource["jobReference"],
            "jobComplete": True,
            "totalRows": str(len(rows)),
            "schema": {"fields": fields},
        }
        wanted = int(query.get("maxResults", self.page_rows))
        if wanted == 0:  # the client asks for the schema alone; with a `rows` key it would take that for a page
            return out
        start, size = int(query.get("pageToken", 0)), min(wanted, self.page_rows)
        if self.loop_pages and start >= size:
            start = 0
        end = start + size
        page = rows[start : end - self.lose_rows if end >= len(rows) and self.lose_rows else end]
        out["rows"] = [{"f": [cell(value, kind) for value, kind in zip(row, fields, strict=True)]} for row in page]
        if end < len(rows) or self.loop_pages:
            out["pageToken"] = str(end)
        return out

    # --- datasets and tables

    def _datasets(self, project: str, query: dict[str, str]) -> dict[str, Any]:
        names = sorted(name for home, name in self.datasets if home == project)
        start, size = int(query.get("pageToken", 0)), int(query.get("maxResults", 50))
        out: dict[str, Any] = {
            "datasets": [
                {
                    "id": f"{project}:{name}",
                    "datasetReference": {"projectId": project, "datasetId": name},
                    # multi-regions are written in upper case (REST, "datasets.list")
                    "location": self.datasets[project, name].upper(),
                }
                for name in names[start : start + size]
            ]
        }
        if start + size < len(names):
            out["nextPageToken"] = str(start + size)
        return out

    def _dataset(self, project: str, name: str) -> dict[str, Any]:
        if (project, name) in self.hidden:
            raise Refused(403, "accessDenied", f"Access Denied: Dataset {project}:{name}: Permission denied")
        if (project, name) not in self.datasets:
            raise Refused(404, "notFound", f"Not found: Dataset {project}:{name}")
        reference = {"projectId": project, "datasetId": name}
        return {"datasetReference": reference, "location": self.datasets[project, name].upper()}

    def _table(self, project: str, dataset: str, name: str) -> dict[str, Any]:
        found = self.rest_tables.get((project, dataset, name))
        if found is None:
            raise Refused(404, "notFound", f"Not found: Table {project}:{dataset}.{name}")
        reference = {"projectId": project, "datasetId": dataset, "tableId": name}
        return {"tableReference": reference, "type": "TABLE", **found}


def _error(error: Refused) -> dict[str, Any]:
    if error.reason == "invalid_grant":
        return {"error": "invalid_grant", "error_description": error.message}
    detail = {"reason": error.reason, "message": error.message, "domain": "global"}
    return {"error": {"code": error.status, "message": error.message, "errors": [detail]}}


async def _body(receive: Any) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _reply(send: Any, status: int, answer: dict[str, Any]) -> None:
    body = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _cut_off(send: Any) -> None:
    """Promise a thousand bytes, send ten, and end: uvicorn drops the connection."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"kind":"b'})


@contextmanager
def serve() -> Iterator[BigQuery]:
    """A server in a thread of this process, on an ephemeral port of 127.0.0.1."""
    box = BigQuery()
    server = uvicorn.Server(uvicorn.Config(box, host="127.0.0.1", port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    box.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield box
    finally:
        server.should_exit = True
        thread.join(timeout=10)
