"""`/sandbox/...`: faults and time, for tests in other processes and other languages.

Bodies are sent as `application/json`: a web page of another origin cannot do that without asking first, and nobody
answers it.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mc_push_dagster.errors import FixConfiguration
from mc_push_dagster.sandbox.clock import stamp
from mc_push_dagster.sandbox.faults import parse_faults
from mc_push_dagster.sandbox.world import World


async def _faults(request: Request) -> Response:
    world: World = request.app.state.world
    if request.method == "DELETE":
        world.faults.clear()
    elif request.method == "POST":
        if refused := _not_json(request):
            return refused
        try:
            plan = parse_faults(await request.body())
        except FixConfiguration as error:
            return JSONResponse({"message": str(error)}, status_code=400)
        for fault in plan:
            world.faults.add(fault)
    return JSONResponse({"faults": world.faults.describe()})


async def _clock(request: Request) -> Response:
    world: World = request.app.state.world
    if request.method == "POST":
        if refused := _not_json(request):
            return refused
        try:
            seconds = float(json.loads(await request.body())["advance_seconds"])
            await run_in_threadpool(world.clock.advance, timedelta(seconds=seconds))
        except (ValueError, TypeError, KeyError, OverflowError):
            return JSONResponse({"message": 'send {"advance_seconds": <0 or more>}'}, status_code=400)
    return JSONResponse(await run_in_threadpool(_time, world))


def _time(world: World) -> dict[str, Any]:
    return {"now": stamp(world.clock.now()), "shift_seconds": world.clock.shift().total_seconds()}


def _not_json(request: Request) -> Response | None:
    if request.headers.get("content-type", "").split(";")[0].strip() == "application/json":
        return None
    return JSONResponse({"message": "send Content-Type: application/json"}, status_code=415)


routes = [
    Route("/sandbox/faults", _faults, methods=["GET", "POST", "DELETE"]),
    Route("/sandbox/clock", _clock, methods=["GET", "POST"]),
]
