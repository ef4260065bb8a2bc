"""The wire under HiveServer2's Thrift protocol: HTTP(S) with any path, or binary.

Defects absorbed here: thrift's HTTP client never looks at the status (a 401 shows as `Length exceeded max allowed:
16384000`); pyhive verifies no certificate, knows the one path `/cliservice`, sets no timeout, and sends the password
`pass` where none is given.
"""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from mc_push_dagster.errors import FixAccess, FixConfiguration, MissingExtra, PushError, WarehouseUnavailable

EXTRA = "spark"


@contextmanager
def spoken(where: str) -> Iterator[None]:
    """Turn what the socket, TLS, HTTP and Thrift layers raise into our errors; `where` names the server.

    Raises:
        FixAccess: if the server refuses the user.
        FixConfiguration: if the other side speaks something else, or its certificate is not trusted.
        WarehouseUnavailable: if it does not answer, or breaks off.
    """
    from thrift.Thrift import TException
    from thrift.transport.TTransport import TTransportException

    try:
        yield
    except PushError:
        raise
    except TTransportException as error:
        raise _transport_error(where, error) from error
    except (ConnectionResetError, BrokenPipeError) as error:
        raise _hung_up(where) from error
    except (EOFError, TException) as error:
        raise WarehouseUnavailable(f"{where} broke off in the middle of an answer ({type(error).__name__})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _socket_error(where, error) from error


def _socket_error(where: str, error: Exception) -> PushError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return FixConfiguration(
            f"{where}: the certificate is not trusted ({error.verify_message}); name the authority with `ca_file`"
        )
    if isinstance(error, ssl.SSLError):
        return FixConfiguration(f"{where} does not speak TLS there; use http:// (or `tls: false`), or another port")
    if isinstance(error, http.client.BadStatusLine):
        return _hung_up(where)
    if isinstance(error, TimeoutError):
        return WarehouseUnavailable(f"{where} did not answer in time; `timeout_seconds` is the limit for one answer")
    if isinstance(error, socket.gaierror):
        return WarehouseUnavailable(f"{where}: the host name cannot be resolved")
    reason = getattr(error, "strerror", None) or type(error).__name__
    return WarehouseUnavailable(f"{where} cannot be reached: {reason}")


def _transport_error(where: str, error: Any) -> PushError:
    cause = error.inner or error.__cause__ or error.__context__
    if isinstance(cause, OSError) and not isinstance(cause, ConnectionResetError | BrokenPipeError):
        return _socket_error(where, cause)
    text = str(error.message or "")
    if text.startswith("Bad status"):
        return FixAccess(f"{where} refuses the user or the password")
    if error.type == error.TIMED_OUT or "timed out" in text:
        return WarehouseUnavailable(f"{where} did not answer in time; `timeout_seconds` is the limit for one answer")
    if error.type == error.NOT_OPEN:
        return WarehouseUnavailable(f"{where} cannot be reached: {text.splitlines()[0] if text else 'no connection'}")
    return _hung_up(where)


def _hung_up(where: str) -> PushError:
    if "//" in where:
        hint = "it may speak TLS (https://) or the binary protocol (`host` and `port` in place of `url`)"
    else:
        hint = (
            "`auth` does not match the server's hive.server2.authentication, or it speaks HTTP (`url` in place of "
            "`host`) or TLS (`tls: true`)"
        )
    return WarehouseUnavailable(f"{where} closed the connection without an answer; if it always does, {hint}")


def _http_status(where: str, code: int) -> PushError:
    if code in (401, 403):
        return FixAccess(f"{where} refuses the user or the password (HTTP {code})")
    if code in (404, 405):
        return FixConfiguration(f"{where} has no Thrift server on this path (HTTP {code}); check the path of `url`")
    if 300 <= code < 400:
        return FixConfiguration(f"{where} sends us elsewhere (HTTP {code}); put the final address in `url`")
    if code == 429 or code >= 500:
        return WarehouseUnavailable(f"{where} answered HTTP {code}")
    return FixConfiguration(f"{where} does not take Thrift over HTTP there (HTTP {code}); check `url`")


def tls_context(*, ca_file: str | None, verify: bool) -> ssl.SSLContext:
    """A TLS context that verifies certificate and host name, save where the user says otherwise."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise FixConfiguration(f"`ca_file` {ca_file} cannot be read as certificates") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def http_transport(
    url: str, *, username: str, password: str, timeout: float, ca_file: str | None = None, verify: bool = True
) -> Any:
    """A Thrift transport over HTTP(S) with basic authentication that raises on any status but 2xx."""
    try:
        from thrift.transport.THttpClient import THttpClient
    except ImportError as error:
        raise MissingExtra(what="the Thrift client", extra=EXTRA) from error
    where = shown(url)

    class Checked(THttpClient):
        def flush(self) -> None:
            with spoken(where):
                super().flush()
            if not 200 <= self.code < 300:
                self.close()
                raise _http_status(where, self.code)

        def close(self) -> None:
            if self.isOpen():
                super().close()

    context = tls_context(ca_file=ca_file, verify=verify) if url.startswith("https://") else None
    transport = Checked(url, ssl_context=context)
    transport.setTimeout(timeout * 1000)
    credentials = base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
    transport.setCustomHeaders({"Authorization": f"Basic {credentials}"})
    return transport


def binary_transport(
    host: str,
    port: int,
    *,
    auth: str,
    username: str,
    password: str | None,
    kerberos_service: str,
    timeout: float,
    tls: ssl.SSLContext | None = None,
) -> Any:
    """A Thrift transport over a socket: buffered for NOSASL, SASL PLAIN for NONE and LDAP, GSSAPI for KERBEROS."""
    try:
        from thrift.transport import TSocket, TSSLSocket, TTransport
    except ImportError as error:
        raise MissingExtra(what="the Thrift client", extra=EXTRA) from error
    wire = TSSLSocket.TSSLSocket(host, port, ssl_context=tls) if tls else TSocket.TSocket(host, port)
    wire.setTimeout(timeout * 1000)
    if auth == "NOSASL":
        return TTransport.TBufferedTransport(wire)
    try:
        import thrift_sasl
        from pyhive.sasl_compat import PureSASLClient
    except ImportError as error:
        raise MissingExtra(what=f"authentication {auth}", extra=EXTRA) from error
    if auth == "KERBEROS":
        _needs_kerberos()
        return thrift_sasl.TSaslClientTransport(
            lambda: PureSASLClient(host=host, service=kerberos_service), "GSSAPI", wire
        )
    # In NONE mode the server ignores the password, yet SASL PLAIN forbids an empty one.
    return thrift_sasl.TSaslClientTransport(
        lambda: PureSASLClient(host=host, username=username, password=password or "x"), "PLAIN", wire
    )


def _needs_kerberos() -> None:
    try:
        import kerberos  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise FixConfiguration(
            "auth KERBEROS needs the package `kerberos` (or `pykerberos`) and the system's Kerberos library; "
            "install one, run kinit, and try again"
        ) from error


def shown(url: str) -> str:
    """The address without user, password and query, for messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


Transport = Callable[[], Any]
