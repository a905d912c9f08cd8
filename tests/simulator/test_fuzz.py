"""Requests that nobody would send: each is answered or its connection ends, and nothing inside the appliance breaks."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ds3tool.simulator import Appliance, ApplianceSettings
from ds3tool.simulator.contract import Operation, operations, words
from tests.simulator.wire import Wire

# So many examples of each test; `DS3TOOL_FUZZ=20000` for a night's run.
_EXAMPLES = int(os.environ.get("DS3TOOL_FUZZ", "120"))
_PATIENCE = 20.0
# Answers that say what is wrong, or that something is right; a 500 is neither.
_FINE = {
    100,
    200,
    201,
    204,
    206,
    207,
    307,
    400,
    401,
    402,
    403,
    404,
    405,
    408,
    409,
    410,
    411,
    413,
    416,
    431,
    501,
    503,
    505,
}

fuzzed = settings(
    max_examples=_EXAMPLES,
    deadline=None,
    derandomize=_EXAMPLES == 120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class _Complaints(logging.Handler):
    """Keeps what the appliance logs of its own failures."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(self.format(record))


@dataclass
class Target:
    """An appliance under fire, what it holds, and what it complained of."""

    appliance: Appliance
    wire: Wire
    complaints: _Complaints
    ids: dict[str, str] = field(default_factory=dict)

    def shoot(self, data: bytes) -> int | None:
        """Send bytes and close that side; return the status of the first answer, None when there was none.

        Fails when the appliance does not end the connection, answers with what is no HTTP, or breaks inside.
        """
        self.complaints.told.clear()
        with socket.create_connection((self.wire.host, self.wire.port or 0), timeout=_PATIENCE) as peer:
            with contextlib.suppress(OSError):
                peer.sendall(data)
                peer.shutdown(socket.SHUT_WR)
            answer = b""
            with contextlib.suppress(ConnectionError):
                while piece := peer.recv(65536):
                    answer += piece
        assert not self.complaints.told, self.complaints.told[0]
        if not answer:
            return None
        first = answer.split(b"\r\n", 1)[0].split(b" ")
        assert first[0] == b"HTTP/1.1", answer[:200]
        return int(first[1])


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    complaints = _Complaints()
    logger = logging.getLogger("ds3tool.simulator")
    logger.addHandler(complaints)
    with Appliance(ApplianceSettings(persist_delay=0.0, hold=0.0, retry_after=0, seed=11, blob_size=1000)) as appliance:
        wire = Wire(appliance.endpoint, appliance.access_key, appliance.secret_key)
        assert wire.ask("PUT", "/b").status == 200
        wire.put_all("b", {"here": b"x" * 2500, "dir/": b""})
        job = wire.start_put("b", {"open": 1500}).xml.attrib["JobId"]
        yield Target(appliance, wire, complaints, {"job": job})
        wire.close()
    logger.removeHandler(complaints)


def test_no_bytes_at_all_break_the_server(target: Target) -> None:
    """Somebody who connects and leaves is no failure."""
    assert target.shoot(b"") is None


@fuzzed
@given(st.binary(max_size=300))
def test_bytes_are_answered_or_dropped(target: Target, data: bytes) -> None:
    """Any bytes at all: an answer that says no, or the end of the connection."""
    assert target.shoot(data) in {None, 400, 431, 501, 505}


_PIECES = st.sampled_from(
    [
        *(
            b"\r\n",
            b"\n",
            b"\r",
            b" ",
            b"\t",
            b":",
            b"\x00",
            b"\xff",
            b"\x7f",
            b"%",
            b"%2",
            b"%00",
            b"?",
            b"&",
            b"=",
            b"//",
        ),
        *(
            b"..",
            b"/../",
            b"%2e%2e%2f",
            b"Content-Length: 5\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Expect: 100-continue\r\n",
        ),
        *(
            b"Range: bytes=0-\r\n",
            b"Range: bytes=-1,5-2\r\n",
            b"Host: y\r\n",
            b"Authorization: AWS\r\n",
            b"Date: x\r\n",
        ),
        *(
            b"Connection: close\r\n",
            b"0" * 100,
            b"A" * 5000,
            "ü".encode(),
            b"Content-MD5: =\r\n",
            b"x-amz-meta-\xff: 1\r\n",
        ),
    ]
)


@fuzzed
@given(st.data())
def test_a_damaged_head_is_answered_or_dropped(target: Target, data: st.DataObject) -> None:
    """A good request with something put in, taken out or said twice is understood or refused."""
    verb = data.draw(st.sampled_from(["GET", "PUT", "HEAD", "DELETE", "POST"]))
    path = data.draw(
        st.sampled_from(["/", "/b", "/b/here", "/_rest_/bucket/b", "/_rest_/job_chunk?job=x", "/b/here?job=x"])
    )
    signed = target.wire.signed_headers(verb, path, {"Content-Length": "3"} if verb in ("PUT", "POST") else {})
    lines = [f"{verb} {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in signed.items()), "", ""]
    head = "\r\n".join(lines).encode() + (b"abc" if verb in ("PUT", "POST") else b"")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(head)))
        cut = data.draw(st.integers(0, 4))
        head = head[:at] + data.draw(_PIECES) + head[at + cut :]
    status = target.shoot(head)
    assert status is None or status in _FINE, (status, head)


@fuzzed
@given(
    st.text(max_size=60),
    st.sampled_from(
        ["AWS {}", "AWS {}:", "aws {}:x", "AWS4-HMAC-SHA256 {}", "Bearer {}", "{}", "AWS :{}", "AWS a:{}:b"]
    ),
)
def test_signatures_of_any_form_are_refused(target: Target, text: str, form: str) -> None:
    """403 or 400, whatever stands in the header; never a way in."""
    value = form.format(text).encode("utf-8", "surrogatepass").replace(b"\r", b"").replace(b"\n", b"")
    head = b"GET / HTTP/1.1\r\nHost: x\r\nDate: Tue, 02 Jan 2024 03:04:05 GMT\r\nAuthorization: " + value + b"\r\n\r\n"
    assert target.shoot(head) in {400, 403}


_VALUES = st.one_of(
    st.text(max_size=20),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(
        ["", "0", "-1", "true", "False", "NaN", "1e9", "%", "*", "b", "here", "null", "2024-01-01T00:00:00.000Z"]
    ),
    st.uuids().map(str),
)


def _asked(data: st.DataObject, target: Target, row: Operation) -> str:
    """Return a target of an operation with any of its parameters, of any value."""
    identifier = data.draw(
        st.one_of(st.sampled_from(["b", "Administrator", "SIM001L8", *target.ids.values()]), _VALUES)
    )
    if row.style == "s3":
        path = {"service": "/", "bucket": "/b", "object": "/b/here"}[row.resource]
    else:
        path = f"/_rest_/{row.resource}" + (f"/{quote(identifier, safe='')}" if row.one else "")
    pairs = [f"operation={row.operation}"] if row.operation else []
    for parameter in row.parameters:
        if parameter.required or data.draw(st.booleans()):
            allowed = words(parameter.type)
            good = st.sampled_from([*(allowed or ()), *target.ids.values(), "b", "1"])
            value = data.draw(st.one_of(good, _VALUES))
            pairs.append(f"{parameter.name}={quote(value.encode('utf-8', 'replace'), safe='')}")
    return path + ("?" + "&".join(pairs) if pairs else "")


# Nothing that takes away what the other examples need, or ends the appliance's own keys.
_HARMFUL = (
    "Delete",
    "Truncate",
    "Cancel",
    "Clear",
    "User",
    "Modify",
    "Reset",
    "Abort",
    "Eject",
    "Format",
    "DataPathBackend",
)
_ROWS = sorted(
    (row for row in operations().values() if not any(word in row.name for word in _HARMFUL)), key=lambda row: row.name
)
_BODIES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [
            b"",
            b"<Objects/>",
            b"<Objects><Object/></Objects>",
            b'<Objects><Object Name="here"/></Objects>',
            b'<Objects><Object Name="new" Size="99999999999999999999999"/></Objects>',
            b'<Objects><Object Name="new" Size="-1"/></Objects>',
            b'<Objects><Object Name="here" Offset="5" Length="99"/></Objects>',
            b"<Delete><Object><Key>gone</Key></Object></Delete>",
            b"<Delete><Object/></Delete>",
            b"<Ids><Id>x</Id></Ids>",
            b"<CompleteMultipartUpload><Part><PartNumber>x</PartNumber></Part></CompleteMultipartUpload>",
            b"<a>" * 5000,
            b'<?xml version="1.0" encoding="utf-7"?><Objects/>',
            b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><Objects><Object Name="&b;"/></Objects>',
            b"\xef\xbb\xbf<Objects/>",
            "<Objects><Object Name='ü'/></Objects>".encode("utf-16"),
        ]
    ),
)


@settings(fuzzed, max_examples=_EXAMPLES * 4)
@given(st.data())
def test_operations_of_any_parameters_are_answered(target: Target, data: st.DataObject) -> None:
    """Every operation, with whatever its parameters and its body say: an answer, and never a failure inside."""
    row = data.draw(st.sampled_from(_ROWS))
    asked = _asked(data, target, row)
    body = data.draw(_BODIES) if row.verb in ("PUT", "POST") or "suspect" in asked else b""
    target.complaints.told.clear()
    answer = target.wire.ask(row.verb, asked, body)
    assert answer.status in _FINE, (row.name, asked, body, answer)
    assert not target.complaints.told, (row.name, asked, body, target.complaints.told[0])
