"""Pushes in processes that are killed at a chosen step; `python -m mc_push_dagster_tests.flow.killed` reads what to do.

One line of JSON in, one out. Each push runs in a fork of this process, so that a kill is a real SIGKILL and imports are
paid once. The steps are the ledger's transactions, the outbox's writes and the gateway's requests, counted from 1:
`commit:before:7` dies with the seventh transaction open, `send:after:2` dies when the second request was answered.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from mc_push_dagster.config import MonteCarloConfig
from mc_push_dagster.gateway.connection import Connection
from mc_push_dagster.gateway.ingest import IngestGateway
from mc_push_dagster.model import Target, Window
from mc_push_dagster_tests.flow.harness import NOON, Desk, Shop, config, desk, query, table, view

WINDOW = Window.hour(NOON - timedelta(hours=1))


def shop() -> Shop:
    """Seven tables, two views, lineage of both kinds, and ten queries: eleven bodies of at most two or three events."""
    stocked = Shop(
        *(table(f"t{i}", "id", "price", rows=i, changed=NOON) for i in range(7)),
        view("v1", "SELECT id, price FROM t1", "id", "price"),
        view("v2", "SELECT t2.id FROM t2 JOIN v1 ON t2.id = v1.id"),
    )
    stocked.log = [query(i, WINDOW.start + timedelta(minutes=i)) for i in range(9)]
    stocked.log.append(query(9, WINDOW.start + timedelta(minutes=30), "INSERT INTO t6 SELECT id, price FROM v1"))
    return stocked


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Steps:
    """Counts steps and dies at the chosen one."""

    def __init__(self, chosen: str | None) -> None:
        self._what, self._when, number = (chosen or "none:never:0").split(":")
        self._number = int(number)
        self.counted: dict[str, int] = {}

    def around(self, what: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            with self.at(what):
                return act(*args, **kwargs)

        return step

    @contextmanager
    def at(self, what: str) -> Iterator[None]:
        self.counted[what] = self.counted.get(what, 0) + 1
        mine = what == self._what and self.counted[what] == self._number
        if mine and self._when == "before":
            _die()
        yield
        if mine and self._when == "after":
            _die()

    def arm(self, at: Desk) -> None:
        at.gateway.send = self.around("send", at.gateway.send)  # type: ignore[method-assign]
        at.outbox.put = self.around("put", at.outbox.put)  # type: ignore[method-assign]
        database = at.ledger._database
        write = database.write

        @contextmanager
        def counted() -> Iterator[Any]:
            self.counted["commit"] = self.counted.get("commit", 0) + 1
            mine = self._what == "commit" and self.counted["commit"] == self._number
            with write() as connection:
                yield connection
                if mine and self._when == "before":
                    _die()
            if mine and self._when == "after":
                _die()

        database.write = counted  # type: ignore[method-assign]


def push(folder: Path, resource_uuid: str, chosen: str | None) -> dict[str, Any]:
    """Push everything once; dies at the chosen step."""
    connection = Connection.from_environment(MonteCarloConfig(), os.environ)
    assert connection is not None
    gateway = IngestGateway(connection, timeout_seconds=10)
    target = Target(resource_uuid=resource_uuid, resource_type="data-lake", log_type="hive-s3")
    at = desk(folder, shop=shop(), gateway=gateway, target=target, settings=config(max_events=2, concurrency=1))
    steps = Steps(chosen)
    steps.arm(at)
    reports = [at.pusher.push_catalog(), at.pusher.push_lineage(), at.pusher.push_query_logs(WINDOW)]
    return {"maybe_twice": sum(report.maybe_twice for report in reports), "steps": steps.counted}


def main() -> None:
    from mc_push_dagster.gateway.pycarlo_import import without_schema

    with without_schema():
        import pycarlo.core
        import pycarlo.features.ingestion  # noqa: F401  paid once, here
    import mc_push_dagster.lineage.edges  # noqa: F401

    for line in sys.stdin:
        order = json.loads(line)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                done = push(Path(order["folder"]), order["resource_uuid"], order["kill"])
                os.write(write, json.dumps(done).encode())
            except BaseException as error:  # noqa: BLE001  the parent tells the test
                os.write(write, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as answer:
            said = answer.read()
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(json.dumps({"killed": killed} | (json.loads(said) if said else {})), flush=True)


if __name__ == "__main__":
    main()
