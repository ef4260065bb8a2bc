"""Faults on demand: what a bad night does to a client, a given number of times or for ever, per path.

The plan lives in the serving process: a fault never outlives the server it was given to.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mc_push_dagster.errors import FixConfiguration

Kind = Literal["status", "html", "empty", "hang", "reset", "close", "delay"]


class Fault(BaseModel):
    """One way to answer wrongly.

    `status` answers with `status`; `html` with 200 and a web page; `empty` with 202 and no invocation id; `hang` never
    answers; `reset` breaks the connection with RST; `close` closes it without a word; `delay` answers late.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind = "status"
    path: str = Field(default="*", description="metadata, lineage, querylogs, graphql, or a glob over the whole path.")
    status: int = Field(default=503, ge=300, le=599)
    retry_after: float | str | None = Field(default=None, description="Sent as Retry-After with `status`.")
    times: int | None = Field(default=1, ge=1, description="How often it strikes; null is for ever.")
    skip: int = Field(default=0, ge=0, description="How many matching requests pass before it strikes.")
    stored: bool = Field(
        default=False, description="The request is processed first: accepted, then the answer is lost."
    )
    before_body: bool = Field(
        default=False, description="Strikes when the headers are in (reset, close, hang, status)."
    )
    containing: str | None = Field(default=None, description="Only requests whose body contains this text.")
    seconds: float = Field(default=3600, gt=0, description="How long `hang` and `delay` last.")
    body: str | None = Field(default=None, description="Sent with `status` in place of a JSON message.")

    def matches(self, path: str, body: bytes | None) -> bool:
        if self.path not in (path.rsplit("/", 1)[-1], "*") and not fnmatchcase(path, self.path):
            return False
        if self.before_body != (body is None):
            return False
        return self.containing is None or (body is not None and self.containing.encode() in body)


_FAULTS = TypeAdapter(list[Fault])


def parse_faults(data: bytes | str) -> list[Fault]:
    """Read a plan: a JSON list of faults, or one fault.

    Raises:
        FixConfiguration: if it is no such JSON.
    """
    text = data.encode() if isinstance(data, str) else data
    try:
        return _FAULTS.validate_json(text if text.lstrip().startswith(b"[") else b"[" + text + b"]")
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        place = "/".join(map(str, wrong["loc"])) or "the plan"
        raise FixConfiguration(f"fault plan: {place}: {wrong['msg']}") from error


class FaultPlan:
    """The faults still to come; the first that matches strikes."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._guard = threading.Lock()
        self._waiting: list[tuple[Fault, list[int]]] = []
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> None:
        with self._guard:
            self._waiting.append((fault, [0]))

    def clear(self) -> None:
        with self._guard:
            self._waiting.clear()

    def take(self, path: str, body: bytes | None) -> Fault | None:
        """The fault that this request meets, if any; `body` is None while only its headers are known."""
        with self._guard:
            for fault, seen in self._waiting:
                if not fault.matches(path, body):
                    continue
                seen[0] += 1
                struck = seen[0] - fault.skip
                if struck >= 1 and (fault.times is None or struck <= fault.times):
                    return fault
        return None

    def describe(self) -> list[dict[str, Any]]:
        """Each fault with `left`, how often it may still strike (None: for ever)."""
        with self._guard:
            return [
                fault.model_dump()
                | {"left": None if fault.times is None else max(0, fault.times - max(0, seen[0] - fault.skip))}
                for fault, seen in self._waiting
            ]
