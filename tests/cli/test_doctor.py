"""`ds3tool doctor` finds the step that fails, and knows the way out."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.cli.runner import Run, run

NOW = 1_800_000_000


class Server(http.server.ThreadingHTTPServer):
    """Answers every request with 403 and the headers it was given."""

    daemon_threads = True

    def __init__(self, headers: dict[str, str], tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply_headers = headers
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """A handshake that fails is what some tests want."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.send_response_only(403)
        for name, value in self.server.reply_headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(server: Server) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def context(authority: trustme.CA, host: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(made)
    return made


def examine(endpoint: str, *arguments: str) -> tuple[Run, dict[str, dict[str, Any]]]:
    """Return the run and its steps by name."""
    environ = {"DS3_ENDPOINT": endpoint, "DS3_ACCESS_KEY": "id", "DS3_SECRET_KEY": "hunter2"}
    told = run("doctor", "-o", "json", *arguments, environ=environ)
    assert "hunter2" not in told.stdout + told.stderr
    return told, {step["step"]: step for step in told.json["steps"]}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_without_settings_it_says_what_to_set(tmp_path: Path) -> None:
    """The first step fails and the rest is not tried."""
    told = run("doctor", "-o", "json", environ={"DS3TOOL_CONFIG": str(tmp_path / "none")}).expect(2)
    first, *rest = told.json["steps"]
    assert (first["step"], first["status"]) == ("settings", "failed")
    assert "DS3_ENDPOINT" in first["hint"]
    assert {step["status"] for step in rest} == {"skipped"}
    assert told.json["ok"] is False
    assert told.json["error"]["exit_code"] == 2


def test_a_name_nobody_knows_is_told_apart() -> None:
    """A host name that does not resolve fails at its own step."""
    told, steps = examine("http://no-such-host.invalid")
    told.expect(7)
    assert steps["settings"]["status"] == "ok"
    assert steps["name"]["status"] == "failed"
    assert "no-such-host.invalid" in steps["name"]["found"]
    assert steps["connection"]["status"] == "skipped"


def test_a_port_where_nothing_listens_is_told_apart() -> None:
    """The name resolves; the connection is refused."""
    told, steps = examine(f"http://127.0.0.1:{free_port()}")
    told.expect(7)
    assert steps["name"]["status"] == "ok"
    assert "refused" in steps["connection"]["found"]


def test_a_self_signed_certificate_leads_to_the_ca_bundle(authority: trustme.CA, tmp_path: Path) -> None:
    """Without the bundle TLS fails with the hint; with it, TLS is well and the credentials are what fails."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    with serving(Server({}, context(authority, "localhost"))) as port:
        told, steps = examine(f"https://localhost:{port}")
        told.expect(7)
        assert steps["TLS"]["status"] == "failed"
        assert "--ca-bundle" in steps["TLS"]["hint"]
        told, steps = examine(f"https://localhost:{port}", "--ca-bundle", str(bundle))
        told.expect(6)
        assert (steps["TLS"]["status"], steps["credentials"]["status"]) == ("ok", "failed")


def test_a_certificate_of_another_host_leads_to_its_name(authority: trustme.CA, tmp_path: Path) -> None:
    """A trusted certificate for another name is told apart from an untrusted one."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    with serving(Server({}, context(authority, "elsewhere.example"))) as port:
        _, steps = examine(f"https://localhost:{port}", "--ca-bundle", str(bundle))
    assert steps["TLS"]["status"] == "failed"
    assert "host name" in steps["TLS"]["hint"]


def test_an_unchecked_certificate_is_a_warning(authority: trustme.CA) -> None:
    """--no-verify-ssl goes on, and is never called well."""
    with serving(Server({}, context(authority, "elsewhere.example"))) as port:
        _, steps = examine(f"https://localhost:{port}", "--no-verify-ssl")
    assert steps["TLS"]["status"] == "warning"
    assert steps["HTTP"]["status"] == "ok"


def test_https_to_a_plain_port_says_so() -> None:
    """TLS against HTTP names the other scheme."""
    with serving(Server({})) as port:
        _, steps = examine(f"https://127.0.0.1:{port}", "--no-verify-ssl")
    assert "http://" in steps["TLS"]["hint"]


def test_http_to_a_tls_port_says_so(authority: trustme.CA) -> None:
    """HTTP against TLS names the other scheme."""
    with serving(Server({}, context(authority, "localhost"))) as port:
        told, steps = examine(f"http://localhost:{port}")
    assert told.exit_code != 0
    assert "https://" in steps["HTTP"]["hint"]


def test_the_management_port_is_recognised() -> None:
    """An operator who took the wrong port is told which one is right."""
    with serving(Server({"Spectra-Data-Path-Request-Made-On-Management-Path": "true"})) as port:
        told, steps = examine(f"http://127.0.0.1:{port}")
    assert told.exit_code != 0
    assert steps["HTTP"]["status"] == "failed"
    assert "management port" in steps["HTTP"]["found"]


@pytest.mark.parametrize(
    ("ahead_seconds", "status", "words"),
    [
        (0, "ok", ""),
        (10 * 60, "warning", "ahead of"),
        (-10 * 60, "warning", "behind"),
        (3630, "failed", "1 h 00 m ahead"),
    ],
)
def test_the_clocks_are_compared(ahead_seconds: int, status: str, words: str) -> None:
    """The reply's date tells by how much the clocks differ; beyond a quarter of an hour signatures are refused."""
    import time

    with serving(Server({"Date": formatdate(time.time() + ahead_seconds, usegmt=True)})) as port:
        told, steps = examine(f"http://127.0.0.1:{port}")
    assert steps["clock"]["status"] == status
    assert words in steps["clock"]["found"]
    told.expect(6)


def test_refused_credentials_end_with_exit_code_6() -> None:
    """A 403 is about the keys, and is said to be."""
    with serving(Server({})) as port:
        told, steps = examine(f"http://127.0.0.1:{port}")
    told.expect(6)
    assert steps["credentials"]["status"] == "failed"
    assert steps["system"]["status"] == "skipped"


def test_people_see_a_step_a_line_with_the_way_out_below() -> None:
    """The plain output is readable from top to bottom."""
    environ = {"DS3_ENDPOINT": f"http://127.0.0.1:{free_port()}", "DS3_ACCESS_KEY": "id", "DS3_SECRET_KEY": "s"}
    lines = run("doctor", environ=environ).expect(7).stdout.splitlines()
    assert lines[0].startswith("ok       settings")
    assert lines[2].startswith("failed   connection")
    assert "->" in lines[3]
