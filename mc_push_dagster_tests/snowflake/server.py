"""A Snowflake on loopback for the real driver: fakesnow runs the SQL, what it lacks is put around it here.

Around it: system views as tables of their documented shapes (golden/snowflake_shapes.json), filled by the test; results
cut into chunks that the driver downloads; HTTP faults, Snowflake's own errors and lost sessions on demand; tokens that
expire and are renewed; a log of statements and of sessions. Rules of Snowflake that we imitate name their source.
"""

from __future__ import annotations

import base64
import gzip
import importlib
import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import pyarrow as pa
import sqlglot
import uvicorn
from fakesnow.instance import FakeSnow
from sqlglot import exp

fakesnow_server = importlib.import_module("fakesnow.server")
logging.getLogger("fakesnow.server").setLevel(logging.CRITICAL)

SHAPES: Mapping[str, Mapping[str, Mapping[str, Any]]] = json.loads(
    (Path(__file__).parents[1] / "golden" / "snowflake_shapes.json").read_text(encoding="utf-8")
)["shapes"]

DUCK_TYPES = {
    "VARCHAR": "VARCHAR",
    "NUMBER": "BIGINT",
    "TIMESTAMP_LTZ": "TIMESTAMPTZ",
    "ARRAY": "JSON",
    "OBJECT": "JSON",
    "VARIANT": "JSON",
    "BOOLEAN": "BOOLEAN",
}
HOME = "SNOWFLAKE"
"""The database that holds ACCOUNT_USAGE here as there, and the tables behind every INFORMATION_SCHEMA."""


@dataclass
class Fault:
    """What happens instead of an answer to statements that match `on` (text, then bound values), `times` times."""

    on: str
    times: float = 1
    status: int | None = None
    """An HTTP status with an empty body."""
    error: tuple[int, str, str] | None = None
    """Snowflake's own error: number, SQL state, message."""
    lose_session: bool = False
    """The server forgets the session before it reads the statement."""
    expire_token: bool = False
    """The session token has expired (390112); the driver renews it at /session/token-request."""


@dataclass
class Snowflake:
    """The state of one loopback server."""

    port: int = 0
    statements: list[str] = field(default_factory=list)
    bindings: list[dict[str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    chunk_rows: int = 100_000
    chunks: dict[str, bytes] = field(default_factory=dict)
    chunk_gets: int = 0
    broken_chunks: int = 0
    """How many of the next downloads are answered with 403, as an expired address is."""
    logins: list[dict[str, Any]] = field(default_factory=list)
    login_error: tuple[int, str] | None = None
    open_sessions: set[str] = field(default_factory=set)
    refused: int = 0
    """Answers that were faults."""

    def reset(self) -> None:
        fresh = Snowflake(port=self.port)
        self.__dict__.update(fresh.__dict__)
        fakesnow_server.sessions.clear()
        for schema, views in SHAPES.items():
            for view in views:
                self.duck.execute(f'DELETE FROM {HOME}."{_home(schema)}"."{view}"')

    def build(self) -> None:
        """Make an empty account of the documented shapes."""
        fakesnow_server.shared_fs = FakeSnow()
        fakesnow_server.shared_fs.connect(HOME, "PUBLIC")
        for schema, views in SHAPES.items():
            self.duck.execute(f'CREATE SCHEMA {HOME}."{_home(schema)}"')
            for view, shape in views.items():
                columns = ", ".join(f'"{name}" {DUCK_TYPES[kind]}' for name, kind in shape["columns"].items())
                self.duck.execute(f'CREATE TABLE {HOME}."{_home(schema)}"."{view}" ({columns})')
        # HASH_AGG: any digest that does not depend on the order of rows serves (SQL reference, "HASH_AGG").
        letters = ", ".join("abcdefghi")
        self.duck.execute(
            f"CREATE MACRO {HOME}.main.hash_agg({letters}) AS (sum(hash({letters}) % 1000000007)::BIGINT)"
        )

    @property
    def duck(self) -> Any:
        return fakesnow_server.shared_fs.duck_conn

    def fill(self, schema: str, view: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put rows into a system view; columns that are not named are NULL, unknown ones an error."""
        columns = SHAPES[schema][view]["columns"]
        listed = [{name.upper(): value for name, value in row.items()} for row in rows]
        unknown = {name for row in listed for name in row} - set(columns)
        assert not unknown, f"{schema}.{view} has no columns {sorted(unknown)}"
        values = [[_plain(row.get(name)) for name in columns] for row in listed]
        if not values:
            return
        table = pa.table(
            {name: pa.array([row[i] for row in values], _arrow(columns[name])) for i, name in enumerate(columns)}
        )
        self.duck.register("incoming", table)
        self.duck.execute(f'INSERT INTO {HOME}."{_home(schema)}"."{view}" SELECT * FROM incoming')
        self.duck.unregister("incoming")

    def database(self, *names: str) -> None:
        """Make databases visible."""
        self.fill("SHOW", "DATABASES", [{"name": name, "kind": "STANDARD"} for name in names])
        self.fill("INFORMATION_SCHEMA", "SCHEMATA", [{"catalog_name": n, "schema_name": "PUBLIC"} for n in names])

    def drop_database(self, name: str) -> None:
        """Make a database vanish from its own INFORMATION_SCHEMA on, while SHOW DATABASES still named it."""
        self.faults.append(
            Fault(
                on=re.escape(f'"{name}".INFORMATION_SCHEMA'),
                times=float("inf"),
                error=(2003, "02000", f"SQL compilation error:\nDatabase '{name}' does not exist or not authorized."),
            )
        )

    def asked(self, pattern: str) -> list[str]:
        """The statements that match `pattern`."""
        return [text for text in self.statements if re.search(pattern, text)]

    def lose_sessions(self) -> None:
        fakesnow_server.sessions.clear()

    # --- the ASGI application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await fakesnow_server.app(scope, receive, send)
            return
        path = scope["path"]
        if path.startswith("/chunk/"):
            await self._chunk(path.rsplit("/", 1)[1], send)
        elif path == "/session/v1/login-request":
            await self._login(scope, receive, send)
        elif path == "/session/token-request":
            await self._renew(scope, send)
        elif path == "/session" and b"delete" in scope["query_string"]:
            self.open_sessions.discard(_token(scope))
            await fakesnow_server.app(scope, receive, send)
        elif path == "/queries/v1/query-request":
            await self._query(scope, await _body(receive), send)
        elif path.startswith("/telemetry"):
            await _reply(send, 200, _json({"success": True}))
        else:
            await fakesnow_server.app(scope, receive, send)

    async def _login(self, scope: Any, receive: Any, send: Any) -> None:
        body = await _body(receive)
        self.logins.append(json.loads(body)["data"])
        if self.login_error is not None:
            code, message = self.login_error
            if code < 1000:
                await _reply(send, code, b"")
            else:
                await _reply(send, 200, _json({"success": False, "code": str(code), "message": message, "data": {}}))
            return
        # fakesnow needs a current database to find FLATTEN; Snowflake does not.
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        query.setdefault("databaseName", HOME)
        inner = {**scope, "query_string": urlencode(query).encode(), "headers": _without_length(scope, len(body))}
        status, answer = await _inner(inner, body)
        parsed = json.loads(answer)
        self.open_sessions.add(parsed["data"]["token"])
        parsed["data"]["masterToken"] = "master-" + parsed["data"]["token"]
        parsed["data"]["sessionInfo"]["roleName"] = query.get("roleName", "PUSHER")
        await _reply(send, status, _json(parsed))

    async def _renew(self, scope: Any, send: Any) -> None:
        old = _token(scope).removeprefix("master-")
        session = fakesnow_server.sessions.pop(old, None)
        if session is None:
            await _reply(send, 200, _json({"success": False, "code": "390114", "message": "expired", "data": {}}))
            return
        new = uuid.uuid4().hex
        fakesnow_server.sessions[new] = session
        self.open_sessions.discard(old)
        self.open_sessions.add(new)
        await _reply(send, 200, _json({"success": True, "data": {"sessionToken": new, "masterToken": f"master-{new}"}}))

    async def _query(self, scope: Any, raw: bytes, send: Any) -> None:
        body = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
        text = body["sqlText"]
        bound = " ".join(str(each["value"]) for each in (body.get("bindings") or {}).values())
        if await self._faulted(f"{text} {bound}", scope, send):
            return
        self.statements.append(text)
        self.bindings.append(body.get("bindings") or {})
        body["sqlText"] = _for_fakesnow(text)
        encoded = _json(body)
        headers = [(n, v) for n, v in _without_length(scope, len(encoded)) if n != b"content-encoding"]
        status, answer = await _inner({**scope, "headers": headers}, encoded)
        if status == 500:
            # fakesnow does not know the statement; the driver would ask again until its time is up.
            status, answer = 200, _refusal(1003, "42000", json.loads(answer)["message"])
        await _reply(send, status, self._cut(answer) if status == 200 else answer)

    async def _faulted(self, text: str, scope: Any, send: Any) -> bool:
        fault = next((f for f in self.faults if f.times > 0 and re.search(f.on, text)), None)
        if fault is None:
            return False
        fault.times -= 1
        self.refused += 1
        if fault.status is not None:
            await _reply(send, fault.status, b"{}")
        elif fault.error is not None:
            await _reply(send, 200, _refusal(*fault.error))
        elif fault.expire_token:
            await _reply(send, 200, _json({"success": False, "code": "390112", "message": "expired", "data": {}}))
        elif fault.lose_session:
            fakesnow_server.sessions.pop(_token(scope), None)
            # Login sessions that are gone: "390111 Session no longer exists. New login required" (driver, gs codes).
            await _reply(send, 200, _json({"success": False, "code": "390111", "message": "gone", "data": {}}))
        return True

    def _cut(self, answer: bytes) -> bytes:
        """Cut a large result: the first rows come inline, the rest as chunks to download."""
        parsed = json.loads(answer)
        data = parsed.get("data") or {}
        if data.get("queryResultFormat") != "arrow" or data.get("total", 0) <= self.chunk_rows:
            return answer
        table = pa.ipc.open_stream(base64.b64decode(data["rowsetBase64"])).read_all()
        data["rowsetBase64"] = base64.b64encode(_ipc(table.slice(0, self.chunk_rows))).decode()
        data["chunkHeaders"] = {}
        data["chunks"] = []
        for start in range(self.chunk_rows, table.num_rows, self.chunk_rows):
            part = table.slice(start, self.chunk_rows)
            name, encoded = uuid.uuid4().hex, _ipc(part)
            self.chunks[name] = encoded
            data["chunks"].append(
                {
                    "url": f"http://127.0.0.1:{self.port}/chunk/{name}",
                    "rowCount": part.num_rows,
                    "uncompressedSize": len(encoded),
                    "compressedSize": len(encoded),
                }
            )
        return _json(parsed)

    async def _chunk(self, name: str, send: Any) -> None:
        self.chunk_gets += 1
        if self.broken_chunks > 0:
            self.broken_chunks -= 1
            await _reply(send, 403, b"expired")
        else:
            await _reply(send, 200, self.chunks[name])


def _home(schema: str) -> str:
    return schema if schema == "ACCOUNT_USAGE" else f"OUR_{schema}"


def _for_fakesnow(text: str) -> str:
    """Send what fakesnow does not know to our tables: INFORMATION_SCHEMA of any database, SHOW, ALTER SESSION."""
    if text.startswith("ALTER SESSION"):
        return "SELECT 'Statement executed successfully.' AS status"
    shown = re.fullmatch(r'SHOW (DATABASES|MATERIALIZED VIEWS|DYNAMIC TABLES)(?: IN DATABASE "((?:[^"]|"")*)")?', text)
    if shown:
        what, database = shown.groups()
        names = ", ".join(f'"{n}" AS "{n.lower()}"' for n in SHAPES["SHOW"][what]["columns"])
        where = f" WHERE DATABASE_NAME = {_literal(database.replace(chr(34) * 2, chr(34)))}" if database else ""
        return f'SELECT {names} FROM {HOME}.OUR_SHOW."{what}"{where}'
    if "INFORMATION_SCHEMA" not in text:
        return text
    text = re.sub(
        r'TABLE\(\s*"(?:[^"]|"")*"\.INFORMATION_SCHEMA\.DYNAMIC_TABLE_GRAPH_HISTORY\(\)\s*\)',
        f"{HOME}.OUR_INFORMATION_SCHEMA.DYNAMIC_TABLE_GRAPH_HISTORY",
        text,
    )
    tree = sqlglot.parse_one(text, read="snowflake")
    for table in list(tree.find_all(exp.Table)):
        if table.db.upper() == "INFORMATION_SCHEMA":
            column = next(iter(SHAPES["INFORMATION_SCHEMA"][table.name.upper()]["columns"]))
            source = f'SELECT * FROM {HOME}.OUR_INFORMATION_SCHEMA."{table.name.upper()}"'
            inner = sqlglot.parse_one(f"{source} WHERE {column} = {_literal(table.catalog)}", read="snowflake")
            table.replace(exp.Subquery(this=inner, alias=exp.TableAlias(this=exp.to_identifier(table.alias))))
    return tree.sql(dialect="snowflake")


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _plain(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _arrow(kind: str) -> pa.DataType:
    kinds = {"NUMBER": pa.int64(), "TIMESTAMP_LTZ": pa.timestamp("us", "UTC"), "BOOLEAN": pa.bool_()}
    return kinds.get(kind, pa.string())


def _ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _refusal(number: int, state: str, message: str) -> bytes:
    code = f"{number:06d}"
    data = {"errorCode": code, "sqlState": state}
    return _json({"success": False, "code": code, "message": message, "data": data})


def _token(scope: Any) -> str:
    header = dict(scope["headers"]).get(b"authorization", b"").decode()
    return header[17:-1]


def _without_length(scope: Any, length: int) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in scope["headers"] if name not in (b"content-length", b"content-encoding")]
    return [*kept, (b"content-length", str(length).encode())]


async def _body(receive: Any) -> bytes:
    parts = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    raw = b"".join(parts)
    return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw


async def _inner(scope: Any, body: bytes) -> tuple[int, bytes]:
    """Ask fakesnow itself."""
    parts: list[bytes] = []
    status = 500

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message.get("body", b""))

    await fakesnow_server.app(scope, receive, send)
    return status, b"".join(parts)


async def _reply(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serve() -> Iterator[Snowflake]:
    """A server in a thread of this process, on an ephemeral port of 127.0.0.1."""
    box = Snowflake()
    server = uvicorn.Server(uvicorn.Config(box, host="127.0.0.1", port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    box.port = server.servers[0].sockets[0].getsockname()[1]
    box.build()
    try:
        yield box
    finally:
        server.should_exit = True
        thread.join(timeout=10)
