"""A Thrift server that answers from a table of statements: for failures that no real server shows on demand."""

from __future__ import annotations

import base64
import re
import socket
import ssl
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mc_push_dagster.warehouses._thrift import OWN

Answer = Callable[[str], list[tuple]]


class RefusedError(Exception):
    """The answer is an error status with this message."""


class Answers:
    """The server's side of TCLIService; counts calls by name."""

    def __init__(self, answer: Answer, *, columns: Answer | None = None, tables: Answer | None = None) -> None:
        self.answer = answer
        self.columns = columns or (lambda pattern: [])
        self.tables = tables or (lambda pattern: [])
        self.calls: Counter[str] = Counter()
        self.statements: list[str] = []
        self.unmarked: list[str] = []
        """Statements that do not say that they are ours."""
        self.results: dict[bytes, list[tuple]] = {}
        self.before: Callable[[str], None] = lambda name: None
        self.page: int | None = None
        """The most rows that the server gives in one page, whatever is asked."""

    def __getattr__(self, name: str) -> Any:
        if not name[:1].isupper():
            raise AttributeError(name)

        def call(request: Any) -> Any:
            self.calls[name] += 1
            self.before(name)
            return getattr(self, f"do_{_snake(name)}")(request)

        return call

    def do_open_session(self, request: Any) -> Any:
        from TCLIService import ttypes

        handle = ttypes.TSessionHandle(ttypes.THandleIdentifier(uuid.uuid4().bytes, b"s" * 16))
        version = ttypes.TProtocolVersion.HIVE_CLI_SERVICE_PROTOCOL_V6
        return ttypes.TOpenSessionResp(
            status=ttypes.TStatus(0), serverProtocolVersion=version, sessionHandle=handle, configuration={}
        )

    def do_close_session(self, request: Any) -> Any:
        from TCLIService import ttypes

        return ttypes.TCloseSessionResp(status=ttypes.TStatus(0))

    def do_execute_statement(self, request: Any) -> Any:
        from TCLIService import ttypes

        sql = request.statement.removeprefix(OWN)
        if sql == request.statement:
            self.unmarked.append(sql)
        self.statements.append(sql)
        return self._reply(ttypes.TExecuteStatementResp, lambda: [] if sql.startswith("USE ") else self.answer(sql))

    def do_get_columns(self, request: Any) -> Any:
        from TCLIService import ttypes

        return self._reply(ttypes.TGetColumnsResp, lambda: self.columns(request.tableName))

    def do_get_tables(self, request: Any) -> Any:
        from TCLIService import ttypes

        return self._reply(ttypes.TGetTablesResp, lambda: self.tables(request.tableName))

    def do_fetch_results(self, request: Any) -> Any:
        from TCLIService import ttypes

        guid = request.operationHandle.operationId.guid
        size = min(request.maxRows, self.page or request.maxRows)
        rows, self.results[guid] = self.results[guid][:size], self.results[guid][size:]
        columns = [_column(list(values)) for values in zip(*rows, strict=True)]
        return ttypes.TFetchResultsResp(
            status=ttypes.TStatus(0), hasMoreRows=False, results=ttypes.TRowSet(0, [], columns)
        )

    def do_close_operation(self, request: Any) -> Any:
        from TCLIService import ttypes

        self.results.pop(request.operationHandle.operationId.guid, None)
        return ttypes.TCloseOperationResp(status=ttypes.TStatus(0))

    def _reply(self, kind: Any, rows: Callable[[], list[tuple]]) -> Any:
        from TCLIService import ttypes

        try:
            found = rows()
        except RefusedError as error:
            return kind(status=ttypes.TStatus(3, errorMessage=str(error)))
        guid = uuid.uuid4().bytes
        self.results[guid] = found
        identity = ttypes.THandleIdentifier(guid, b"s" * 16)
        return kind(status=ttypes.TStatus(0), operationHandle=ttypes.TOperationHandle(identity, 0, hasResultSet=True))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _column(values: list) -> Any:
    from TCLIService import ttypes

    nulls = bytearray(-(-len(values) // 8))
    for i, value in enumerate(values):
        if value is None:
            nulls[i >> 3] |= 1 << (i & 7)
    if any(isinstance(v, bool) for v in values):
        return ttypes.TColumn(boolVal=ttypes.TBoolColumn([bool(v) for v in values], bytes(nulls)))
    if any(isinstance(v, int) for v in values):
        return ttypes.TColumn(i64Val=ttypes.TI64Column([v or 0 for v in values], bytes(nulls)))
    return ttypes.TColumn(stringVal=ttypes.TStringColumn([v or "" for v in values], bytes(nulls)))


@contextmanager
def over_http(
    answers: Answers,
    *,
    path: str = "/cliservice",
    user: str = "alice",
    password: str = "pw",
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """Serve over HTTP(S) on loopback with basic authentication; yields the address."""
    from TCLIService import TCLIService
    from thrift.protocol.TBinaryProtocol import TBinaryProtocol
    from thrift.transport.TTransport import TMemoryBuffer, TTransportException

    processor = TCLIService.Processor(answers)
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path != path:
                return self.reply(404, b"<html>Not Found</html>" * 20)
            if self.headers.get("Authorization") != expected:
                return self.reply(401, b"<html>Unauthorized</html>" * 20)
            out = TMemoryBuffer()
            try:
                processor.process(TBinaryProtocol(TMemoryBuffer(body)), TBinaryProtocol(out))
            except TTransportException:
                self.close_connection = True
                return self.connection.close()
            return self.reply(200, out.getvalue())

        def reply(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            return

    server = Quiet(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        host = "localhost" if tls else "127.0.0.1"
        yield f"{'https' if tls else 'http'}://{host}:{server.server_port}{path}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def over_binary(answers: Answers) -> Iterator[int]:
    """Serve over a plain socket (NOSASL) on loopback; yields the port. `died()` in `before` breaks the connection."""
    from TCLIService import TCLIService
    from thrift.protocol.TBinaryProtocol import TBinaryProtocol
    from thrift.transport.TSocket import TSocket
    from thrift.transport.TTransport import TBufferedTransport, TTransportException

    processor = TCLIService.Processor(answers)
    over = threading.Event()

    def talk(connection: socket.socket) -> None:
        wire = TSocket()
        wire.setHandle(connection)
        protocol = TBinaryProtocol(TBufferedTransport(wire))
        try:
            while True:
                processor.process(protocol, protocol)
        except (TTransportException, OSError, EOFError):
            connection.close()

    def accept(server: socket.socket) -> None:
        while True:
            connection, _ = server.accept()
            if over.is_set():
                connection.close()
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, args=(server,), daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            socket.create_connection(server.getsockname()).close()  # wakes accept()
            thread.join(5)


def died() -> Exception:
    """What to raise in `Answers.before` for a server that dies: any other error would be answered politely."""
    from thrift.transport.TTransport import TTransportException

    return TTransportException(message="died")
