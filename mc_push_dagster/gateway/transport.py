"""One HTTP exchange: pooled connections, hard limits on time and size, and the truth about whether the body went out.

pycarlo opens a connection and loads the CA bundle for every request (22 ms of CPU each over TLS, measured), follows
redirects with the token, and lets a server that answers one byte at a time hold it for ever.
"""

from __future__ import annotations

import io
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # missing in typeshed

import urllib3
from urllib3 import exceptions as failures
from urllib3.connection import HTTPConnection, HTTPSConnection

from mc_push_dagster.errors import FixConfiguration, MaybeDelivered, PushError, TryAgain
from mc_push_dagster.gateway.connection import is_loopback_host

_CHUNK = 256 * 1024
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
# OpenSSL's reasons that no second try mends; a handshake that merely broke off is tried again.
_TLS_MISCONFIGURED = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER", "HANDSHAKE_FAILURE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back: the status, the headers (names in lower case) and the body, cut at the limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False


class Transport:
    """Posts bodies to one endpoint; safe to share by threads.

    `timeout_seconds` bounds the sending of a body and, again, the whole of its answer; connecting is bounded by
    `connect_seconds`. Proxies and CA bundles of the environment are used as `requests` would use them, save that
    loopback addresses are never reached through a proxy.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        timeout_seconds: float,
        connect_seconds: float = 10.0,
        pool_size: int = 64,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._host = urlsplit(endpoint).hostname or endpoint
        self._seconds = timeout_seconds
        self._timeout = urllib3.Timeout(connect=min(connect_seconds, timeout_seconds), read=timeout_seconds)
        self._pool = _pool_manager(endpoint, pool_size=pool_size, environment=environment)

    def post(self, url: str, body: bytes, headers: Mapping[str, str], *, limit: int = 1 << 16) -> Reply:
        """Send `body` once and return whatever status came; redirects are not followed.

        Of the answer at most `limit` bytes are read.

        Raises:
            TryAgain: if the body was not taken: no connection, or it broke before the last byte was handed over.
            MaybeDelivered: if it broke, or time ran out, after that.
            FixConfiguration: if the server's certificate is not trusted or the proxy refuses.
        """
        outgoing = _Outgoing(body, deadline=time.monotonic() + self._seconds)
        # A length of our own makes urllib3 send the pieces as they are instead of in chunked coding.
        sent = {**headers, "Content-Length": str(len(body))}
        try:
            response = self._pool.urlopen(
                "POST",
                url,
                body=outgoing,  # type: ignore[arg-type]  # any iterable of bytes is taken
                headers=sent,
                timeout=self._timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
            return _read(response, limit)
        except (failures.HTTPError, OSError) as error:
            raise self._failure(error, outgoing) from error

    def _failure(self, error: Exception, outgoing: _Outgoing) -> PushError:
        if not outgoing.handed_over and any(sign in str(error) for sign in _TLS_MISCONFIGURED):
            return FixConfiguration(
                f"{self._host}: no trusted TLS connection ({_cause(error)}); where a proxy re-encrypts, "
                f"name its CA bundle in {_CA_VARIABLES[0]}"
            )
        if isinstance(error, failures.ProxyError) and "Tunnel connection failed: 4" in str(error):
            return FixConfiguration(f"{self._host}: the proxy of the environment refuses: {error}")
        if outgoing.handed_over:
            return MaybeDelivered(f"{self._host}: the request was sent, but no answer came: {_cause(error)}")
        return TryAgain(f"{self._host}: the request could not be sent: {_cause(error)}")

    def close(self) -> None:
        self._pool.clear()


class _Outgoing:
    """A body in pieces that knows whether its last byte was handed to the network."""

    def __init__(self, body: bytes, *, deadline: float) -> None:
        self._body = memoryview(body)
        self._deadline = deadline
        self.handed_over = False

    def __iter__(self) -> Iterator[memoryview]:
        # Pieces, because one sendall() of a megabyte would have to be done within the connect timeout.
        for start in range(0, len(self._body), _CHUNK):
            if time.monotonic() > self._deadline:
                raise TimeoutError("the body was not taken in time")
            yield self._body[start : start + _CHUNK]
        self.handed_over = True


def _read(response: urllib3.BaseHTTPResponse, limit: int) -> Reply:
    body = response.read(limit + 1)
    truncated = len(body) > limit
    if truncated:
        response.close()  # reading on only to keep the connection could take for ever
    else:
        response.release_conn()
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(status=response.status, headers=headers, body=body[:limit], truncated=truncated)


def _cause(error: BaseException) -> str:
    """The innermost reason, without urllib3's object ids."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, failures.TimeoutError | TimeoutError):
        return "time ran out"
    if isinstance(error, failures.ProtocolError) and len(error.args) > 1:
        return str(error.args[1])
    return getattr(error, "strerror", None) or str(error).rpartition(": ")[2] or type(error).__name__


class _DeadlineReader(io.RawIOBase):
    """A socket's raw reader that gives up when the time for the whole answer is over, not for each byte of it."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer did not end in time")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class _DeadlineSocket:
    """What http.client asks of a socket in order to read an answer."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_DeadlineReader(self._sock, self._deadline))


class _DeadlineMixin:
    """Makes an HTTP connection bound the reading of each answer as a whole by its timeout."""

    def getresponse(self: Any) -> Any:
        deadline = time.monotonic() + self.timeout
        usual = self.response_class
        self.response_class = lambda sock, *args, **options: usual(_DeadlineSocket(sock, deadline), *args, **options)
        try:
            return super().getresponse()  # type: ignore[misc]
        finally:
            self.response_class = usual


class _Connection(_DeadlineMixin, HTTPConnection):
    pass


class _TlsConnection(_DeadlineMixin, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection  # type: ignore[assignment]  # urllib3's own class does not match its protocol either


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection  # type: ignore[assignment]


def _pool_manager(endpoint: str, *, pool_size: int, environment: Mapping[str, str]) -> urllib3.PoolManager:
    options: dict[str, Any] = {"num_pools": 4, "maxsize": pool_size}
    parts = urlsplit(endpoint)
    if parts.scheme == "https":
        options["ssl_context"] = _tls(environment)
    proxy = _proxy(parts.scheme, parts.hostname or "", environment)
    if proxy:
        login = urlsplit(proxy)
        if login.username is not None:
            named = f"{unquote(login.username)}:{unquote(login.password or '')}"
            options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=named)
        manager = urllib3.ProxyManager(proxy, **options)
    else:
        manager = urllib3.PoolManager(**options)
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return manager


def _tls(environment: Mapping[str, str]) -> ssl.SSLContext:
    """One context for all connections: loading the CA bundle costs 14 ms."""
    import certifi

    bundle = next((environment[name] for name in _CA_VARIABLES if environment.get(name)), None)
    try:
        if bundle and os.path.isdir(bundle):
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle or certifi.where())
    except (OSError, ssl.SSLError) as error:
        raise FixConfiguration(f"the CA bundle {bundle} cannot be read: {error}") from error


def _proxy(scheme: str, host: str, environment: Mapping[str, str]) -> str | None:
    """The proxy that the environment names for this host; never one for plain http, which is loopback by contract."""
    if scheme != "https" or is_loopback_host(host):
        return None
    names = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    proxy = next((environment[name] for name in names if environment.get(name)), None)
    exempt = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if proxy is None or proxy_bypass_environment(host, {"no": exempt}):
        return None
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise FixConfiguration(
            f"the proxy of the environment is not an http(s) proxy: {urlsplit(proxy).scheme or proxy}"
        )
    return proxy
