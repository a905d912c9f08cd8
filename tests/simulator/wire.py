"""A small client on http.client that signs with version 2; nothing of the product's own client is in it."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
import http.client
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit
from xml.sax.saxutils import quoteattr

_CHECKSUMS = ("content-md5", "content-crc32", "content-crc32c", "content-sha256", "content-sha512")


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

    def __init__(
        self, endpoint: str, access_key: str, secret_key: str, *, now: Callable[[], float] = time.time
    ) -> None:
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
        date = email.utils.formatdate(self.now(), usegmt=True)
        checksum = next((value for name, value in headers.items() if name.lower() in _CHECKSUMS), "")
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

    # What most tests do.

    def bulk(self, operation: str, bucket: str, entries: str, parameters: str = "") -> Answer:
        """Start a bulk job over `<Object .../>` entries."""
        target = f"/_rest_/bucket/{bucket}?operation={operation}{parameters}"
        return self.ask("PUT", target, f"<Objects>{entries}</Objects>".encode())

    def start_put(self, bucket: str, sizes: Mapping[str, int], parameters: str = "") -> Answer:
        entries = "".join(f'<Object Name={attribute(name)} Size="{size}"/>' for name, size in sizes.items())
        return self.bulk("start_bulk_put", bucket, entries, parameters)

    def start_get(self, bucket: str, names: list[str], order: str = "NONE", parameters: str = "") -> Answer:
        entries = "".join(f"<Object Name={attribute(name)}/>" for name in names)
        guarantee = f"&chunk_client_processing_order_guarantee={order}"
        return self.bulk("start_bulk_get", bucket, entries, guarantee + parameters)

    def put_blob(self, bucket: str, name: str, job: str, offset: int, data: bytes, **headers: str) -> Answer:
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.ask("PUT", f"{path_of(bucket, name)}?job={job}&offset={offset}", data, sent)

    def get_blob(self, bucket: str, name: str, job: str, offset: int, **headers: str) -> Answer:
        return self.ask("GET", f"{path_of(bucket, name)}?job={job}&offset={offset}", b"", headers)

    def send(self, bucket: str, job: str, contents: Mapping[str, bytes], chunks: ET.Element) -> int:
        """Put every blob of a list of chunks that has not been received; return how many were sent."""
        sent = 0
        for blob in chunks.iter("Object"):
            if blob.get("InCache") == "false":
                name, offset, length = blob.attrib["Name"], int(blob.attrib["Offset"]), int(blob.attrib["Length"])
                reply = self.put_blob(bucket, name, job, offset, contents[name][offset : offset + length])
                assert reply.status == 200, reply
                sent += 1
        return sent

    def put_all(self, bucket: str, contents: Mapping[str, bytes], parameters: str = "") -> str:
        """Put objects through one job whose chunks all find room; return the job's id."""
        created = self.start_put(bucket, {name: len(data) for name, data in contents.items()}, parameters)
        assert created.status == 200, created
        job = created.xml.attrib["JobId"]
        self.send(bucket, job, contents, created.xml)
        return job

    def job(self, job: str) -> ET.Element:
        return self.ask("GET", f"/_rest_/job/{job}").xml

    def ready(self, job: str) -> Answer:
        return self.ask("GET", f"/_rest_/job_chunk?job={job}")


def attribute(text: str) -> str:
    """Return `text` as an XML attribute with its quotes."""
    return quoteattr(text, {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})
