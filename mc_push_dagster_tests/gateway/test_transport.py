"""TLS, certificate bundles and proxies: what stands between us and the real endpoint."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mc_push_dagster.errors import FixConfiguration, MaybeDelivered, TryAgain
from mc_push_dagster.gateway.transport import Transport, _proxy
from mc_push_dagster_tests.gateway.raw_server import ACCEPTED, RawServer, Talk, replies

FAR = "https://integrations.monte-carlo.example"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody trusts, and its key."""
    x509 = pytest.importorskip("cryptography.x509", reason="cryptography is not installed")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    pem = serialization.Encoding.PEM
    (folder / "certificate.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "certificate.pem", folder / "key.pem"


class TlsServer:
    """Answers every request with 202 over TLS and counts handshakes."""

    def __init__(self, certificate: tuple[Path, Path]) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context = context
        self.raw = RawServer()
        self.handshakes = 0
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
                sock = self._context.wrap_socket(plain, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            self.handshakes += 1
            threading.Thread(target=self._answer, args=(Talk(sock, self.raw),), daemon=True).start()

    def _answer(self, talk: Talk) -> None:
        try:
            while talk.read() is not None:
                talk.answer(202)
        except OSError:
            return

    def close(self) -> None:
        self._listener.close()
        self.raw.close()


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> Iterator[TlsServer]:
    made = TlsServer(certificate)
    yield made
    made.close()


def post(transport: Transport, url: str) -> bytes:
    try:
        return transport.post(f"{url}/ingest/v1/metadata", b"{}", {"x-mcd-token": "t0ken"}).body
    finally:
        transport.close()


def test_an_untrusted_certificate_is_a_matter_of_configuration_and_nothing_is_sent(tls: TlsServer) -> None:
    with pytest.raises(FixConfiguration, match="REQUESTS_CA_BUNDLE"):
        post(Transport(tls.url, timeout_seconds=2, environment={}), tls.url)
    assert tls.raw.requests == []


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_company_bundle_named_in_the_environment_is_trusted(
    tls: TlsServer, certificate: tuple[Path, Path], variable: str
) -> None:
    transport = Transport(tls.url, timeout_seconds=2, environment={variable: str(certificate[0])})
    assert post(transport, tls.url) == ACCEPTED


def test_one_handshake_serves_many_requests(tls: TlsServer, certificate: tuple[Path, Path]) -> None:
    transport = Transport(tls.url, timeout_seconds=2, environment={"SSL_CERT_FILE": str(certificate[0])})
    for _ in range(10):
        assert transport.post(f"{tls.url}/x", b"x" * 300_000, {}).status == 202
    transport.close()
    assert tls.handshakes == 1


def test_a_bundle_that_is_not_there_is_named() -> None:
    with pytest.raises(FixConfiguration, match=r"/nowhere/ca\.pem"):
        Transport(FAR, timeout_seconds=2, environment={"REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"})


def test_tls_to_a_plain_port_is_a_matter_of_configuration(server: RawServer) -> None:
    def plain(talk: Talk) -> None:
        talk.sock.recv(1000)
        talk.sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        talk.sock.close()

    server.then(plain)
    url = server.url.replace("http:", "https:")
    with pytest.raises(FixConfiguration):
        post(Transport(url, timeout_seconds=2, environment={}), url)


def test_a_handshake_that_breaks_off_is_tried_again(server: RawServer) -> None:
    server.then(lambda talk: talk.reset())
    url = server.url.replace("http:", "https:")
    with pytest.raises(TryAgain) as caught:
        post(Transport(url, timeout_seconds=2, environment={}), url)
    assert not isinstance(caught.value, MaybeDelivered)


def test_a_proxy_of_the_environment_is_asked_for_a_tunnel_and_sees_no_key(server: RawServer) -> None:
    server.then(replies(502, b""))
    with pytest.raises(TryAgain):
        post(Transport(FAR, timeout_seconds=2, environment={"HTTPS_PROXY": server.url}), FAR)
    (request,) = server.requests
    assert (request.method, request.path) == ("CONNECT", "integrations.monte-carlo.example:443")
    assert "t0ken" not in str(request)


def test_a_proxys_user_and_password_are_sent_to_the_proxy(server: RawServer) -> None:
    server.then(replies(502, b""))
    proxy = server.url.replace("//", "//anna:p%40ss@")
    with pytest.raises(TryAgain) as caught:
        post(Transport(FAR, timeout_seconds=2, environment={"HTTPS_PROXY": proxy}), FAR)
    assert server.requests[0].headers["proxy-authorization"] == "Basic YW5uYTpwQHNz"
    assert "p%40ss" not in str(caught.value)


def test_a_proxy_that_refuses_is_a_matter_of_configuration(server: RawServer) -> None:
    server.then(replies(407, b""))
    with pytest.raises(FixConfiguration, match="proxy"):
        post(Transport(FAR, timeout_seconds=2, environment={"HTTPS_PROXY": server.url}), FAR)


def test_a_loopback_endpoint_is_reached_without_the_proxy(server: RawServer, tls: TlsServer) -> None:
    server.then(replies(202))
    nowhere = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:1")
    assert post(Transport(server.url, timeout_seconds=2, environment=nowhere), server.url) == ACCEPTED
    assert _proxy("https", "127.0.0.1", nowhere) is None


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"https_proxy": "http://p:1"}, "http://p:1"),
        ({"ALL_PROXY": "http://p:1"}, "http://p:1"),
        ({"http_proxy": "http://p:1"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "other,.monte-carlo.example"}, None),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "*"}, None),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "other"}, "http://p:1"),
    ],
)
def test_the_proxy_is_chosen_as_the_environment_says(environment: dict[str, str], proxy: str | None) -> None:
    assert _proxy("https", "integrations.monte-carlo.example", environment) == proxy


def test_a_proxy_of_another_kind_is_named_without_its_password() -> None:
    with pytest.raises(FixConfiguration, match="socks5") as caught:
        Transport(FAR, timeout_seconds=2, environment={"HTTPS_PROXY": "socks5://user:pa55@p:1"})
    assert "pa55" not in str(caught.value)
