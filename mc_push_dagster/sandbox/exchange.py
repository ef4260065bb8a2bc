"""One request and its answer: the journal, the faults, and the thread in which blocking work is done."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from mc_push_dagster.sandbox.faults import Fault
from mc_push_dagster.sandbox.journal import Entry, record
from mc_push_dagster.sandbox.world import World

_PAGE = "<!doctype html><title>Sandbox</title><p>An injected web page. This is NOT Monte Carlo."
_STEP = 0.05
"""Seconds between two looks at whether a hanging client is still there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a handler decided."""

    status: int
    body: Mapping[str, Any]
    outcome: str
    invocation: str | None = None
    reason: Any = None
    label: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a handler gets."""

    path: str
    headers: Mapping[str, str]
    body: bytes


Handler = Callable[[World, Asked], Answer]


async def exchange(request: Request, handle: Handler) -> Response:
    """Answer `request` by `handle`, unless a fault strikes; write down what happened either way."""
    world: World = request.app.state.world
    started = time.perf_counter()
    path = request.url.path
    body: bytes | None = None
    if fault := world.faults.take(path, None):
        return await _strike(request, fault, None, None, started)
    try:
        body = await request.body()
    except ClientDisconnect:
        await _write(request, None, "the client went away before its body was in", None, None, started)
        return Response(status_code=400)
    fault = world.faults.take(path, body)
    if fault and fault.kind == "delay":
        await _pause(request, fault.seconds)
        fault = None
    answer = None
    if fault is None or fault.stored:
        asked = Asked(path=path, headers=request.headers, body=body)
        answer = await run_in_threadpool(handle, world, asked)
    if fault:
        return await _strike(request, fault, body, answer, started)
    assert answer is not None
    await _write(request, answer.status, answer.outcome, body, answer, started)
    return JSONResponse(dict(answer.body), status_code=answer.status, headers=dict(answer.headers))


async def _strike(
    request: Request, fault: Fault, body: bytes | None, answer: Answer | None, started: float
) -> Response:
    before = f"{answer.outcome}, then " if answer else ""
    names = {"status": f"injected {fault.status}", "html": "injected web page", "empty": "injected empty answer"}
    outcome = before + names.get(fault.kind, f"injected {fault.kind}")
    status = {"status": fault.status, "html": 200, "empty": 202}.get(fault.kind)
    await _write(request, status, outcome, body, answer, started)
    if fault.kind == "status":
        headers = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after}"}
        if fault.body is not None:
            return Response(fault.body, status_code=fault.status, headers=headers)
        return JSONResponse({"message": f"injected {fault.status}"}, status_code=fault.status, headers=headers)
    if fault.kind == "html":
        return HTMLResponse(_PAGE)
    if fault.kind == "empty":
        return JSONResponse({}, status_code=202)
    if fault.kind == "hang":
        await _pause(request, fault.seconds)
    await _break_off(request, reset=fault.kind == "reset")
    return Response(status_code=500)


async def _pause(request: Request, seconds: float) -> None:
    """Wait, but no longer than the client and the server are there."""
    world: World = request.app.state.world
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not world.stopping.is_set():
        if await request.is_disconnected():
            return
        await asyncio.sleep(min(left, _STEP))


async def _break_off(request: Request, *, reset: bool) -> None:
    """Drop the connection; the server puts its transport into the request's state (server.py)."""
    transport: asyncio.Transport = request.state.transport
    if reset and not transport.is_closing():
        # Linger 0 makes the kernel send RST in place of FIN.
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    # The server learns of it one turn of the loop later, and then sends nothing.
    while not await request.is_disconnected():
        await asyncio.sleep(0)


async def _write(
    request: Request, status: int | None, outcome: str, body: bytes | None, answer: Answer | None, started: float
) -> None:
    world: World = request.app.state.world
    entry = Entry(
        at=world.clock.now(),
        method=request.method,
        path=request.url.path,
        status=status,
        outcome=outcome,
        invocation=answer.invocation if answer else None,
        reason=answer.reason if answer else None,
        body=body,
        key_id=request.headers.get("x-mcd-id"),
        trace_id=request.headers.get("x-mcd-trace-id"),
        label=answer.label if answer else None,
        milliseconds=(time.perf_counter() - started) * 1000,
    )

    def write() -> None:
        with world.store.write() as db:
            record(db, entry, keep_bodies=world.settings.keep_bodies)

    await run_in_threadpool(write)
