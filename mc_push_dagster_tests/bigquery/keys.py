"""Service-account keys that open nothing: their tokens come from the loopback server."""

from __future__ import annotations

import json
from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mc_push_dagster_tests.bigquery.server import ME


@cache
def _pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def service_account_key(url: str, *, project: str = "shop-project", email: str = ME) -> str:
    """The JSON of a key whose tokens the server at `url` gives."""
    return json.dumps(
        {
            "type": "service_account",
            "project_id": project,
            "private_key_id": "k1",
            "private_key": _pem(),
            "client_email": email,
            "client_id": "1",
            "token_uri": f"{url}/token",
        }
    )
