"""The appliance's controls: a door of its own on the loopback address, apart from the protocol port.

    GET /faults                      every fault: rate, times left, times it has struck
    PUT /faults {"clear": true, "rates": ["lost-reply=0.05", "job-expired=1:2"]}

Both answer with the faults as they are then, in JSON. All users of a host share its loopback address, so every request
carries a token (`Authorization: Bearer TOKEN`) that stands where only the appliance's owner can read it.
"""

from __future__ import annotations

import hmac
import json
import secrets
from email.utils import formatdate
from typing import Any

from ds3tool.errors import UsageError
from ds3tool.simulator.faults import Faults, parse_rates
from ds3tool.simulator.http import HttpServer
from ds3tool.simulator.messages import Reply, Request
from ds3tool.simulator.refusals import Refusal, bad_request

HOST = "127.0.0.1"
JSON_TYPE = "application/json"
_FAULTS = "/faults"
_LARGEST_REQUEST = 64 * 1024


class ControlDoor:
    """Listens at `port` of the loopback address (0 for any free one) for whoever has the `token`.

    Raises OSError when it cannot listen there. `start` and `close` as of the server that it is.
    """

    def __init__(self, port: int, faults: Faults) -> None:
        self.token = secrets.token_urlsafe(32)
        self._faults = faults
        self._server = HttpServer(HOST, port, self._handle, _refuse, _common)
        self.port = self._server.port

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def close(self) -> None:
        """End, with every thread and socket; may be called twice."""
        self._server.close()

    def _handle(self, request: Request) -> Reply:
        self._check_token(request)
        if request.target.path != _FAULTS:
            raise Refusal(404, "NotFound", f"There is nothing at {request.target.path}; the faults are at {_FAULTS}.")
        if request.verb == "PUT":
            self._change(_document(request))
        elif request.verb != "GET":
            raise Refusal(405, "MethodNotAllowed", f"{request.verb} is not understood: faults take GET and PUT.")
        return _reply(200, self._state())

    def _check_token(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self.token.encode()):
            raise Refusal(401, "Unauthorized", "The controls need the token that stands in the appliance's record.")

    def _change(self, document: dict[str, Any]) -> None:
        """Do as a document says, all of it or nothing."""
        clear, rates = document.pop("clear", False), document.pop("rates", [])
        if document or not isinstance(clear, bool) or not isinstance(rates, list):
            raise bad_request('The document is {"clear": BOOL, "rates": ["NAME=RATE", ...]}.')
        if not all(isinstance(rate, str) for rate in rates):
            raise bad_request('A rate is a text, as in "lost-reply=0.05".')
        try:
            wanted = parse_rates(rates)
        except UsageError as error:
            raise bad_request(f"{error.message}\n{error.hint or ''}") from error
        if clear:
            self._faults.clear()
        self._faults.apply(wanted)

    def _state(self) -> dict[str, Any]:
        return {
            "seed": self._faults.seed,
            "faults": [
                {
                    "name": state.fault.value,
                    "rate": state.rate,
                    "most": state.most,
                    "struck": state.struck,
                    "does": state.fault.what,
                    "against": state.fault.exposes,
                }
                for state in self._faults.states()
            ],
        }


def _document(request: Request) -> dict[str, Any]:
    try:
        document = json.loads(request.body.read(_LARGEST_REQUEST))
    except (ValueError, RecursionError):
        raise bad_request("The request body is no JSON document.") from None
    if not isinstance(document, dict):
        raise bad_request("The request body is no JSON object.")
    return document


def _reply(status: int, document: dict[str, Any]) -> Reply:
    return Reply(status, (("Cache-Control", "no-store"),), json.dumps(document).encode() + b"\n", JSON_TYPE)


def _refuse(refusal: Refusal, path: str) -> Reply:  # noqa: ARG001 - the message says it where it matters
    message, _, hint = refusal.message.partition("\n")
    return _reply(refusal.status, {"error": {"code": refusal.code, "message": message, "hint": hint or None}})


def _common() -> str:
    return f"Date: {formatdate(usegmt=True)}\r\n"
