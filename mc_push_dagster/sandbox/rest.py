"""`POST /ingest/v1/{metadata,lineage,querylogs}`: the checks in order, then storage, then 202."""

from __future__ import annotations

import gzip
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mc_push_dagster.sandbox.contract import INGEST_SCOPE
from mc_push_dagster.sandbox.exchange import Answer, Asked, exchange
from mc_push_dagster.sandbox.keys import IntegrationKey, authenticate
from mc_push_dagster.sandbox.rules import PATHS, ContractError, check, warehouses_of
from mc_push_dagster.sandbox.world import World


def ingest(world: World, asked: Asked) -> Answer:
    """Check and keep one body; the order of the checks is ours (contract: "Order")."""
    path = asked.path.rsplit("/", 1)[-1]
    if refused := _too_large(world, asked) or _encoded(asked):
        return refused
    with world.store.read() as db:
        key = authenticate(db, asked.headers, INGEST_SCOPE)
    if key is None:
        return _refuse(401, "Authentication failed: no Ingestion key with this id and secret")
    try:
        data = check(path, asked.body, lenient=world.settings.lenient)
    except ContractError as error:
        return _refuse(400, error.message, details=error.details)
    return _keep(world, path, data, asked.body, key)


def _keep(world: World, path: str, data: dict[str, Any], body: bytes, key: IntegrationKey) -> Answer:
    label = data["event_type"]
    warehouses = warehouses_of(data)
    with world.store.write() as db:
        known = {row[0] for row in db.execute("SELECT uuid FROM warehouse")}
        foreign = sorted(w for w in warehouses if w not in known or not key.may_push_to(w))
        if foreign:
            return _refuse(403, f"The key is not authorized for resource {', '.join(foreign[:5])}", label=label)
        invocation = str(uuid.uuid4())
        world.intake.accept(
            db,
            path=path,
            invocation=invocation,
            data=data,
            body=body,
            warehouses=warehouses,
            now=world.clock.now(),
        )
    return Answer(
        status=202, body={"invocation_id": invocation}, outcome="accepted", invocation=invocation, label=label
    )


def _too_large(world: World, asked: Asked) -> Answer | None:
    limit = world.settings.body_limit
    if len(asked.body) <= limit:
        return None
    size, name = len(asked.body), "body"
    if world.settings.measure == "gzip":
        size, name = len(gzip.compress(asked.body, 6, mtime=0)), "compressed body"
        if size <= limit:
            return None
    return _refuse(413, f"Payload too large: the {name} has {size} bytes, the limit is {limit}")


def _encoded(asked: Asked) -> Answer | None:
    # Nothing public shows that the gateway takes Content-Encoding, and pycarlo never sends one.
    encoding = asked.headers.get("content-encoding", "identity")
    if encoding == "identity":
        return None
    return _refuse(415, f"Content-Encoding {encoding} is not known to be accepted by Monte Carlo; send plain JSON")


def _refuse(status: int, message: str, *, details: dict[str, str] | None = None, label: str | None = None) -> Answer:
    body: dict[str, Any] = {"message": message}
    if details:
        body["details"] = details
    return Answer(
        status=status, body=body, outcome=f"refused: {message}", reason=details or {"message": message}, label=label
    )


async def _endpoint(request: Request) -> Response:
    if request.path_params["path"] not in PATHS:
        return JSONResponse({"message": "The sandbox does not serve this path"}, status_code=404)
    return await exchange(request, ingest)


routes = [Route("/ingest/v1/{path:path}", _endpoint, methods=["POST"])]
