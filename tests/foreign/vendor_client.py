"""An object like the client of the vendor's Python SDK: its attributes, made the way that SDK makes them.

For the tests of `from_sdk` alone, on machines where the SDK is not.
"""

from __future__ import annotations

import os
from urllib.parse import urlparse


class Credentials:
    def __init__(self, access_id: str, key: str) -> None:
        self.accessId = access_id.strip()
        self.key = key.strip()


class NetworkConnection:
    """Takes an endpoint apart: one without a scheme is one of http."""

    def __init__(self, endpoint: str) -> None:
        self.url = urlparse(endpoint if endpoint.startswith("http") else f"http://{endpoint}")
        self.hostname, self.port = self.url.hostname, self.url.port
        self.endpoint = endpoint.partition("://")[2] if endpoint.startswith("http") else endpoint


class NetworkClient:
    def __init__(self, endpoint: str, credentials: Credentials) -> None:
        self.networkconnection = NetworkConnection(endpoint)
        self.credentials = credentials
        self.maxredirects = 5
        self.secure = endpoint.startswith("https://")
        self.proxy: str | None = None


class Client:
    """What an application holds; a proxy loses its scheme."""

    def __init__(self, endpoint: str, credentials: Credentials, proxy: str | None = None) -> None:
        self.net_client = NetworkClient(endpoint, credentials)
        if proxy is not None:
            self.net_client.proxy = proxy.partition("://")[2] or proxy


def client_from_environment() -> Client:
    credentials = Credentials(os.environ["DS3_ACCESS_KEY"], os.environ["DS3_SECRET_KEY"])
    return Client(os.environ["DS3_ENDPOINT"], credentials, os.environ.get("http_proxy"))
