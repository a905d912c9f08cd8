"""An answer that is none of the service's is trouble with reaching it, and no surprise."""

from __future__ import annotations

import http.server
import threading

import pytest

from ds3tool.aws.failures import far_side
from ds3tool.aws.session import AwsSettings
from ds3tool.errors import FarSideUnreachableError


class _Page(http.server.BaseHTTPRequestHandler):
    """A proxy that says in HTML what has gone wrong behind it, as if it were an answer."""

    def do_POST(self) -> None:
        page = b"<!doctype html>\n<html lang=en><h1>Something went wrong</h1>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_page_of_a_proxy_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read as the service's answer is told with its beginning, as a service that is not reached."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    with http.server.HTTPServer(("127.0.0.1", 0), _Page) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            client = AwsSettings(endpoint=f"http://127.0.0.1:{proxy.server_port}").client("cloudformation")
            with pytest.raises(FarSideUnreachableError, match="stack x: the answer is none of the service's"):
                _ask(client)
        finally:
            proxy.shutdown()
            thread.join()


def _ask(client: object) -> None:
    with far_side("stack x"):
        client.describe_stacks(StackName="x")  # type: ignore[attr-defined]  # boto3 makes its types at run time
