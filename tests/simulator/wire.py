"""A small client on http.client that signs with version 2; nothing of the product's own client is in it."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
import http.client
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from urllib.parse import quote, urlsplit


@dataclass(frozen=True)
class Answer:
    """A reply, read to its end; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def xml(self) -> ET.Element:
        return ET.fromstring(self.body)

    @property
    def code(self) -> str:
        """The error document's word."""
        return self.xml.findtext("Code") or ""

    @property
    def message(self) -> str:
        return self.xml.findtext("Message") or ""


def sign(secret: str, text: str) -> str:
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha1).digest()).decode()


def path_of(bucket: str, name: str) -> str:
    return f"/{bucket}/{quote(name, safe='-._~/')}"


class Wire:
    """Signed requests over one kept-alive connection."""

    def __init__(self, endpoint: str, access_key: str, secret_key: str, *, now: float | None = None) -> None:
        parts = urlsplit(endpoint)
        assert parts.hostname
        self.host, self.port = parts.hostname, parts.port
        self.access_key, self.secret_key = access_key, secret_key
        self.now = now
        self._connection = http.client.HTTPConnection(self.host, self.port, timeout=60)

    def close(self) -> None:
        self._connection.close()

    def signed_headers(self, verb: str, target: str, headers: dict[str, str]) -> dict[str, str]:
        path, _, query = target.partition("?")
        date = email.utils.formatdate(time.time() if self.now is None else self.now, usegmt=True)
        checksum = next((v for k, v in headers.items() if k.lower().startswith("content-") and k.lower() != "content-type"
                         and k.lower() != "content-length"), "")
        amz = "".join(sorted(f"{k.lower()}:{v}\n" for k, v in headers.items() if k.lower().startswith("x-amz-")))
        sub = next((f"?{p}" for p in query.split("&") if p in ("delete", "versions")), "")
        text = f"{verb}\n{checksum}\n{headers.get('Content-Type', '')}\n{date}\n{amz}{path}{sub}"
        return {**headers, "Date": date, "Authorization": f"AWS {self.access_key}:{sign(self.secret_key, text)}"}

    def ask(self, verb: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        everything = self.signed_headers(verb, target, headers or {})
        everything.setdefault("Content-Length", str(len(body)))
        self._connection.putrequest(verb, target, skip_accept_encoding=True)
        for name, value in everything.items():
            self._connection.putheader(name, value)
        self._connection.endheaders(body or None)
        reply = self._connection.getresponse()
        content = reply.read()
        return Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, content)
