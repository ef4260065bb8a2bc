"""A loopback server for what only raw bytes can show: resets, drips, hangs, half answers."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mc_push_dagster.gateway.connection import Connection, Key

INVOCATION = "11111111-2222-4333-8444-555555555555"
ACCEPTED = f'{{"invocation_id": "{INVOCATION}"}}'.encode()


@dataclass
class Request:
    """What arrived, exactly."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Script = Callable[["Talk"], None]


@dataclass
class Talk:
    """One connection as a script sees it; a script is called for each request on it."""

    sock: socket.socket
    server: RawServer
    buffer: bytes = b""

    def read_head(self) -> Request | None:
        while b"\r\n\r\n" not in self.buffer:
            more = self.sock.recv(65536)
            if not more:
                return None
            self.buffer += more
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {n.lower(): v.strip() for n, v in (line.split(":", 1) for line in lines)}
        return Request(method, path, headers, b"")

    def read(self) -> Request | None:
        request = self.read_head()
        if request is None:
            return None
        length = int(request.headers.get("content-length", "0"))
        while len(self.buffer) < length:
            more = self.sock.recv(65536)
            if not more:
                return None
            self.buffer += more
        request.body, self.buffer = self.buffer[:length], self.buffer[length:]
        self.server.requests.append(request)
        return request

    def answer(self, status: int, body: bytes = ACCEPTED, headers: dict[str, str] | None = None) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {"Content-Type": "application/json"}).items()]
        self.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


@dataclass
class RawServer:
    """Answers by a script: the n-th request by the n-th entry, the last entry for all that follow."""

    scripts: list[Script] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._turn = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def then(self, *scripts: Script) -> RawServer:
        self.scripts = list(scripts)
        return self

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than the test lasts."""
        self.stop.wait(seconds)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        talk = Talk(sock, self)
        try:
            while sock.fileno() != -1:
                sock.setblocking(True)
                if not talk.buffer and not sock.recv(1, socket.MSG_PEEK):
                    return
                script = self.scripts[min(self._turn, len(self.scripts) - 1)]
                self._turn += 1
                script(talk)
        except OSError:
            return

    def close(self) -> None:
        self.stop.set()
        self._listener.close()
        for sock in self._open:
            sock.close()


def replies(status: int, body: bytes = ACCEPTED, headers: dict[str, str] | None = None) -> Script:
    """A script that reads the request and answers."""

    def script(talk: Talk) -> None:
        if talk.read() is not None:
            talk.answer(status, body, headers)

    return script


def sandbox_connection(url: str) -> Connection:
    return Connection(
        ingest_endpoint=url,
        api_endpoint=f"{url}/graphql",
        ingest_key=Key.of("sandbox-ingest", "sandbox-secret-ingest"),
        api_key=Key.of("sandbox-api", "sandbox-secret-api"),
        resource_uuid="a1b2c3d4-e5f6-7890-abcd-ef1234567890",
    )


def elapsed(started: float) -> float:
    return time.monotonic() - started
