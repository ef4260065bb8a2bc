"""`POST /graphql`: the vendor's own types, cut out of its SDK's schema (schema.graphql), over the sandbox's data."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from graphql import (
    ExecutionResult,
    GraphQLError,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    execute_sync,
    parse,
    validate,
)
from graphql.language import DocumentNode, FieldNode, StringValueNode, ValueNode
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mc_push_dagster.sandbox.clock import moment, stamp
from mc_push_dagster.sandbox.contract import API_SCOPE, NOTICE
from mc_push_dagster.sandbox.exchange import Answer, Asked, exchange
from mc_push_dagster.sandbox.keys import authenticate
from mc_push_dagster.sandbox.reading import Reading
from mc_push_dagster.sandbox.resolvers import RESOLVERS
from mc_push_dagster.sandbox.world import World

_SCHEMA = Path(__file__).with_name("schema.graphql")


@cache
def schema() -> GraphQLSchema:
    """The schema with its resolvers; built once a process, in about 0.1 s."""
    built = build_schema(_SCHEMA.read_text(encoding="utf-8"))
    for place, resolve in RESOLVERS.items():
        type_name, field_name = place.split(".")
        kind = built.type_map[type_name]
        assert isinstance(kind, GraphQLObjectType)
        kind.fields[field_name].resolve = resolve
    for name, read in {"UUID": _uuid, "DateTime": _time, "Date": _time, "JSONString": _json}.items():
        scalar = built.type_map[name]
        assert isinstance(scalar, GraphQLScalarType)
        _strict_scalar(scalar, read)
    return built


def answer(world: World, asked: Asked) -> Answer:
    """Run one GraphQL request; what is wrong in it is answered with 200 and `errors`, as the SDK expects it."""
    with world.store.read() as db:
        key = authenticate(db, asked.headers, API_SCOPE)
    if key is None:
        message = "Authentication failed: no API key with this id and secret"
        return Answer(status=401, body={"message": message}, outcome=f"refused: {message}", reason={"message": message})
    try:
        asked_for = json.loads(asked.body)
        query, variables = asked_for["query"], asked_for.get("variables")
        if not isinstance(query, str) or not isinstance(variables, dict | None):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError):
        message = 'The body must be JSON: {"query": "...", "variables": {...}}'
        return Answer(status=400, body={"message": message}, outcome=f"refused: {message}", reason={"message": message})
    result, label, notes = run(world, query, variables, asked_for.get("operationName"))
    body = result.formatted | {"extensions": {"sandbox": {"notice": NOTICE, "notes": notes}}}
    errors = [e.message for e in result.errors or ()]
    outcome = f"errors: {'; '.join(errors)[:200]}" if errors else "answered"
    return Answer(status=200, body=body, outcome=outcome, reason=errors or None, label=label)


def run(
    world: World, query: str, variables: Mapping[str, Any] | None = None, operation: str | None = None
) -> tuple[ExecutionResult, str | None, list[str]]:
    """Run a document; return its result, the names of its root fields, and what the sandbox did not really do."""
    try:
        document = parse(query)
    except GraphQLError as error:
        return ExecutionResult(data=None, errors=[error]), None, []
    label = _root_fields(document)
    if errors := validate(schema(), document):
        return ExecutionResult(data=None, errors=errors), label, []
    world.intake.settle()
    with world.store.read() as db:
        context = Reading(world=world, db=db, now=world.clock.now())
        result = execute_sync(
            schema(),
            document,
            context_value=context,
            variable_values=dict(variables or {}),
            operation_name=operation,
        )
    return result, label, context.notes


def _root_fields(document: DocumentNode) -> str:
    operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    fields = [s for o in operations for s in o.selection_set.selections]
    return ", ".join(f.name.value for f in fields if isinstance(f, FieldNode))


def _strict_scalar(scalar: GraphQLScalarType, read: Callable[[Any], Any]) -> None:
    def literal(node: ValueNode, _variables: Any = None) -> Any:
        if not isinstance(node, StringValueNode):
            raise GraphQLError(f"{scalar.name} is written as a string", node)
        return value(node.value)

    def value(given: Any) -> Any:
        try:
            return read(given)
        except (ValueError, TypeError, AttributeError) as error:
            raise GraphQLError(f"{scalar.name} cannot represent value: {given!r}") from error

    scalar.parse_value = value  # type: ignore[method-assign]
    scalar.parse_literal = literal  # type: ignore[method-assign]


def _uuid(given: Any) -> str:
    return str(uuid.UUID(given))


def _time(given: Any) -> str:
    return stamp(moment(given))


def _json(given: Any) -> Any:
    return json.loads(given)


async def _endpoint(request: Request) -> Response:
    return await exchange(request, answer)


routes = [Route("/graphql", _endpoint, methods=["POST"])]
