"""Drives a real `dagster dev` as a user would start it, by its GraphQL API."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

REPOSITORY = Path(__file__).parents[2]
LOCATION = "mc_push_dagster"

LOADED = "{workspaceOrError{... on Workspace{locationEntries{loadStatus locationOrLoadError{__typename}}}}}"
LAUNCH = """mutation($selector: JobOrPipelineSelector!, $tags: [ExecutionTag!]) {
  launchPipelineExecution(
    executionParams: {selector: $selector, runConfigData: "{}", executionMetadata: {tags: $tags}}
  ) {
    __typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message} ... on RunConfigValidationInvalid {
    errors {message}}}}"""
STATUS = """query($id: ID!) {runOrError(runId: $id) {... on Run {status eventConnection(afterCursor: null) {events {
  __typename ... on ExecutionStepFailureEvent {error {message}}}}}}}"""
RELOAD = 'mutation {reloadRepositoryLocation(repositoryLocationName: "%s") {__typename ... on PythonError {message}}}'
ASSETS = """{assetNodes {assetKey {path} groupName kinds dependencyKeys {path} isMaterializable
  metadataEntries {__typename label ... on TableSchemaMetadataEntry {schema {columns {name type}}}}}}"""


@dataclass(frozen=True)
class Dev:
    """A running `dagster dev`."""

    url: str
    process: subprocess.Popen[bytes]
    started_in: float
    """Seconds until the definitions were loaded."""

    def ask(self, query: str, variables: Mapping[str, Any] | None = None, *, timeout: float = 60) -> dict[str, Any]:
        """Run a GraphQL document and return its data."""
        body = json.dumps({"query": query, "variables": dict(variables or {})}).encode()
        request = Request(self.url + "/graphql", data=body, headers={"Content-Type": "application/json"})
        with urlopen(request, timeout=timeout) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def run(
        self,
        job: str,
        *,
        tags: Mapping[str, str] | None = None,
        timeout: float = 120,
        watch: Callable[[], object] = lambda: None,
    ) -> str:
        """Launch a job, wait for its end, and return the run's id; `watch` is called again and again meanwhile."""
        selector = {"repositoryLocationName": LOCATION, "repositoryName": "__repository__", "pipelineName": job}
        wanted = [{"key": key, "value": value} for key, value in (tags or {}).items()]
        launched = self.ask(LAUNCH, {"selector": selector, "tags": wanted})["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run_id = launched["run"]["runId"]
        found: dict[str, Any] = {}

        def ended() -> bool:
            watch()
            found.update(self.ask(STATUS, {"id": run_id})["runOrError"])
            return found["status"] in ("SUCCESS", "FAILURE", "CANCELED")

        wait_for(ended, timeout=timeout, pause=0.1)
        failures = [e["error"]["message"] for e in found["eventConnection"]["events"] if e.get("error")]
        assert found["status"] == "SUCCESS", failures
        return run_id

    def reload(self) -> None:
        """Do what the UI's "Reload definitions" button does."""
        answer = self.ask(RELOAD % LOCATION)["reloadRepositoryLocation"]
        assert answer["__typename"] == "WorkspaceLocationEntry", answer

    def assets(self) -> dict[str, dict[str, Any]]:
        """All assets by their key, its parts joined by slashes."""
        return {"/".join(node["assetKey"]["path"]): node for node in self.ask(ASSETS)["assetNodes"]}


def checkout(folder: Path) -> Path:
    """Lay out what `dagster dev` reads of a repository's root, so that what it writes stays apart; return `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("dagster.yaml", "workspace.yaml", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, folder / name)
    return folder


@contextmanager
def dagster_dev(folder: Path, home: Path) -> Iterator[Dev]:
    """Start `dagster dev` in `folder`, wait until its definitions are loaded, and stop it with all it started."""
    port = free_port()
    names = ("DAGSTER_HOME", "MCD_ID", "MCD_TOKEN", "MCD_INGEST_ID", "MCD_INGEST_TOKEN", "MCD_RESOURCE_UUID")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"MC_PUSH_HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}"}
    log = home / "dagster-dev.log"
    home.mkdir(parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("dagster")), "dev", "-h", "127.0.0.1", "-p", str(port)]
    start = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        dev = Dev(f"http://127.0.0.1:{port}", process, 0)
        wait_for(lambda: _loaded(dev, log), timeout=90)
        yield Dev(dev.url, process, time.monotonic() - start)
    finally:
        _stop(process)


def _loaded(dev: Dev, log: Path) -> bool:
    assert dev.process.poll() is None, log.read_text()[-3000:]
    try:
        entries = dev.ask(LOADED, timeout=5)["workspaceOrError"]["locationEntries"]
    except (URLError, OSError):
        return False
    errors = [e for e in entries if (e["locationOrLoadError"] or {}).get("__typename") == "PythonError"]
    assert not errors, log.read_text()[-3000:]
    return bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the session that we started: politely first, so that code servers and daemon end by themselves."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(40)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(done: Callable[[], bool], *, timeout: float, pause: float = 0.3) -> None:
    end = time.monotonic() + timeout
    while not done():
        assert time.monotonic() < end, f"not done within {timeout} s"
        time.sleep(pause)


def worker_peaks(folder: Path) -> dict[int, int]:
    """The peak resident memory, in bytes, of each run worker that is at work in `folder`, by process id."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # The code server starts a run as a child of its own, by Python's `multiprocessing`.
            is_worker = b"spawn_main" in (process / "cmdline").read_bytes()
            if is_worker and (process / "cwd").resolve() == folder.resolve():
                status = (process / "status").read_text()
                peak = next((line for line in status.splitlines() if line.startswith("VmHWM")), None)
                if peak is not None:
                    found[int(process.name)] = int(peak.split()[1]) * 1024
        except OSError:  # it ended while we looked
            continue
    return found
