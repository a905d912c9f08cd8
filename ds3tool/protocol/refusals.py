"""Refusals: which error a reply outside 2xx means, whatever its body is, and how long it asks to wait."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ds3tool.errors import (
    AccessDeniedError,
    ApplianceError,
    BusyError,
    ConflictError,
    DamagedError,
    Ds3Error,
    ForbiddenError,
    MediaOfflineError,
    NotFoundError,
    ProtocolError,
    RetryLaterError,
    ServerFaultError,
)
from ds3tool.protocol import names
from ds3tool.protocol.messages import Request, Response
from ds3tool.protocol.model import ErrorDocument
from ds3tool.protocol.retry_after import http_date_seconds, retry_after_seconds
from ds3tool.protocol.ways_out import way_out
from ds3tool.protocol.xmlcodec import read_tree

# More of a refusal than this is not read: its status says enough.
_MAX_DOCUMENT_BYTES = 1024 * 1024
_MAX_TARGET_CHARACTERS = 300
_MAX_MESSAGE_CHARACTERS = 2000

_SECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z_]+\[[0-9]{3}\]:\s*", re.ASCII)
_BAR_CODES = re.compile(r"\[([A-Za-z0-9_-]{1,32}(?:\s*,\s*[A-Za-z0-9_-]{1,32})*)\]", re.ASCII)
_TAPES_AWAY = re.compile(
    r"\btapes?\b.*\b(?:online|onlined|offline|eject\w*|load\w*|import\w*)\b", re.IGNORECASE | re.DOTALL
)

_CLASSES: dict[int, type[ApplianceError]] = {
    307: RetryLaterError,
    403: AccessDeniedError,
    404: NotFoundError,
    408: ServerFaultError,
    409: ConflictError,
    410: NotFoundError,
    429: ServerFaultError,
    **dict.fromkeys((500, 502, 504), ServerFaultError),
    503: BusyError,
}
_MANAGEMENT_CODE = "ManagementPort"


def error(request: Request, response: Response, *, now: float | None = None) -> Ds3Error:
    """Return the error that `response`, whose status is not 2xx, means for `request`.

    Reads the body to its end; one that is empty, foreign or broken leaves the status to speak. `now` is the local
    time in seconds since 1970, by which a refusal for the clock says how far it is out.
    """
    document = parse_error_document(response.body)
    status = response.status
    code = document.code or _status_word(status)
    message = _PREFIX.sub("", document.message or "", count=1)[:_MAX_MESSAGE_CHARACTERS]
    doing = f"{request.method} {_told(request)}"
    bar_codes = _bar_codes(request, status, message)
    if bar_codes:
        return MediaOfflineError(
            f"tapes must be loaded first: {', '.join(bar_codes)}",
            bar_codes=bar_codes,
            hint="put them into the library, then: ds3tool tape online BAR_CODE, and run the command again",
        )
    kind = _CLASSES.get(status, ApplianceError)
    if kind is AccessDeniedError and not _is_about_who_asks(code, message):
        kind = ForbiddenError
    elif status == 400 and code == names.BAD_DIGEST and request.method == "GET":
        kind = DamagedError
    if response.headers.get(names.MANAGEMENT_PATH) is not None:
        # Its 404 is about the port; taken for "not there" it would make callers create what exists.
        kind, code = ApplianceError, _MANAGEMENT_CODE
    said = f"{status} {code}" + (f": {message}" if message else "")
    return kind(
        f"{doing}: {said}",
        status=status,
        code=code,
        resource=document.resource,
        request_id=document.request_id or response.headers.get(names.REQUEST_ID),
        retry_after_seconds=retry_after_seconds(response.headers, now=now),
        hint=_hint(response, code, message, now) or way_out(request, status, code),
    )


def _told(request: Request) -> str:
    """Return what a request was about, for people: the path, and of the query only the operation."""
    operation = dict(request.query).get("operation")
    return request.path[:_MAX_TARGET_CHARACTERS] + (f"?operation={operation}" if operation else "")


def parse_error_document(body: Iterable[bytes]) -> ErrorDocument:
    """Return what an error document says; an empty one for anything else. Never raises ProtocolError."""
    data = bytearray()
    for block in body:
        if len(data) <= _MAX_DOCUMENT_BYTES:
            data += block
    if b"<" not in data[:1024]:
        return ErrorDocument()
    try:
        root = read_tree((bytes(data),), what="the refusal", root="Error")
    except ProtocolError:
        return ErrorDocument()
    status = (root.value("HttpErrorCode") or "").strip()
    return ErrorDocument(
        code=_stripped(root.value("Code")),
        message=_stripped(root.value("Message")),
        status=int(status) if _SECONDS.fullmatch(status) else None,
        resource=_stripped(root.value("Resource")),
        request_id=_stripped(root.value("ResourceId") or root.value("RequestId")),
    )


def _stripped(text: str | None) -> str | None:
    return (text or "").strip() or None


def _status_word(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")
    except ValueError:
        return f"Status{status}"


def _bar_codes(request: Request, status: int, message: str) -> tuple[str, ...]:
    """Return the bar codes that the refusal of a bulk get or verify says must be online, sorted."""
    operations = {value for name, value in request.query if name == "operation"}
    if operations.isdisjoint({names.START_BULK_GET, names.START_BULK_VERIFY}) or status in {307, 403}:
        return ()
    if _TAPES_AWAY.search(message) is None:
        return ()
    return tuple(sorted({code.strip() for found in _BAR_CODES.findall(message) for code in found.split(",")}))


def _is_about_the_clock(code: str, message: str) -> bool:
    return names.CLIENT_CLOCK.lower() in message.lower() or code == names.REQUEST_TIME_TOO_SKEWED


def _is_about_who_asks(code: str, message: str) -> bool:
    """Whether a 403 refuses a clock, a key or a signature, and so says nothing of what this user may do."""
    return _is_about_the_clock(code, message) or code in {names.SIGNATURE_DOES_NOT_MATCH, names.INVALID_ACCESS_KEY_ID}


def _hint(response: Response, code: str, message: str, now: float | None) -> str | None:
    status = response.status
    if code == _MANAGEMENT_CODE:
        return "this is the appliance's management port; give the address of its data port as the endpoint"
    if status == 403:
        if _is_about_the_clock(code, message):
            return _clock_hint(response, now)
        if code in {names.SIGNATURE_DOES_NOT_MATCH, names.INVALID_ACCESS_KEY_ID}:
            return "check the access key and the secret key"
        return "check the access key and the secret key, and that this user may do this"
    if status == 407:
        return "the proxy wants credentials; put them into its address, or go without a proxy"
    if 300 <= status < 400 and status != 307:
        return "something else than an appliance answers at this address; check the endpoint and the proxy"
    return None


def _clock_hint(response: Response, now: float | None) -> str:
    theirs = http_date_seconds(response.headers.get(names.DATE))
    if theirs is None or now is None:
        return "set this machine's clock by a time server, and the appliance's too"
    off = round(now - theirs)
    if off == 0:
        return "the clocks agree to the second: check the appliance's time zone and its settings"
    direction = "ahead of" if off > 0 else "behind"
    return f"this machine's clock is {_span(abs(off))} {direction} the appliance's; set both by a time server"


def _span(seconds: int) -> str:
    parts = []
    for name, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])
