"""The appliance's controls: a door of its own on the loopback address, apart from the protocol port.

    GET /faults     every fault: rate, times left, times it has struck; PUT changes rates
    GET /status     buckets, jobs, cache, drives, tapes, requests by kind, clock
    GET /clock      the appliance's time and what waiting would have cost; PUT changes its pace, steps, skips
    GET /tapes      the library as its operator sees it; PUT acts as the operator, or as bad luck
    GET /drives     drives and what they do; PUT lets one fail, and mends it
    GET /log        what it did lately
    PUT /reset      back to a new appliance, or one without jobs

Documents are JSON. A change is made as a whole or not at all, and answered with how things stand then; a refusal is
`{"error": {"code", "message", "hint"}}`. All users of a host share its loopback address, so every request carries a
token (`Authorization: Bearer TOKEN`) that stands where only the appliance's owner can read it.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from ds3tool.simulator.controls.documents import Control, Question
from ds3tool.simulator.controls.faults import FaultControl
from ds3tool.simulator.controls.log import LogControl
from ds3tool.simulator.controls.reset import ResetControl
from ds3tool.simulator.controls.status import StatusControl
from ds3tool.simulator.controls.tapes import DriveControl, TapeControl
from ds3tool.simulator.controls.time import ClockControl
from ds3tool.simulator.wire.http import HttpServer
from ds3tool.simulator.wire.messages import Reply, Request
from ds3tool.simulator.wire.refusals import Refusal, bad_request

if TYPE_CHECKING:
    from ds3tool.simulator.appliance import Appliance

HOST = "127.0.0.1"
JSON_TYPE = "application/json"
_LARGEST_REQUEST = 64 * 1024


class ControlDoor:
    """Listens at `port` of the loopback address (0 for any free one) for whoever has the `token`.

    Raises OSError when it cannot listen there. `start` and `close` as of the server that it is.
    """

    def __init__(self, port: int, appliance: Appliance) -> None:
        self.token = secrets.token_urlsafe(32)
        self._diary = appliance.diary
        self._undisturbed = appliance.undisturbed
        self._controls: dict[str, Control] = {
            "/faults": FaultControl(appliance.faults),
            "/status": StatusControl(appliance),
            "/clock": ClockControl(appliance),
            "/tapes": TapeControl(appliance),
            "/drives": DriveControl(appliance),
            "/log": LogControl(appliance.diary, appliance.faults.seed),
            "/reset": ResetControl(appliance),
        }
        self._server = HttpServer(HOST, port, self._handle, _refuse, _common)
        self.port = self._server.port

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def close(self) -> None:
        """End, with every thread and socket; may be called twice."""
        self._diary.close()  # whoever follows the log is let go
        self._server.close()

    def _handle(self, request: Request) -> Reply:
        self._check_token(request)
        control = self._controls.get(request.target.path)
        if control is None:
            known = ", ".join(self._controls)
            raise Refusal(404, "NotFound", f"There is nothing at {request.target.path}. The controls are: {known}")
        if request.verb == "GET":
            act, fields = control.show, dict[str, Any](request.target.parameters)
        elif request.verb == "PUT":
            act, fields = control.change, _document(request)
        else:
            raise Refusal(405, "MethodNotAllowed", f"{request.verb} is not understood: controls take GET and PUT.")
        with self._undisturbed if control.patient else contextlib.nullcontext():
            return _reply(200, act(Question(fields, form=control.form)))

    def _check_token(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self.token.encode()):
            raise Refusal(401, "Unauthorized", "The controls need the token that stands in the appliance's record.")


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
    message, _, hint = refusal.message.removeprefix(f"{refusal.code}[{refusal.status}]: ").partition("\n")
    return _reply(refusal.status, {"error": {"code": refusal.code, "message": message, "hint": hint or None}})


def _common() -> str:
    return f"Date: {formatdate(usegmt=True)}\r\n"
