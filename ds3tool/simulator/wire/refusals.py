"""The one exception of the appliance: a request is refused, with the status and code that go on the wire."""

from __future__ import annotations

from ds3tool.protocol import names


class Refusal(Exception):  # noqa: N818 - a refusal is an answer here, not a fault
    """A request that ends in an `Error` document: HTTP `status`, `code`, a sentence, and extra reply `headers`."""

    def __init__(self, status: int, code: str, message: str, *, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


def bad_request(message: str, code: str = names.INVALID_ARGUMENT) -> Refusal:
    """Return a 400."""
    return Refusal(400, code, message)


def malformed(message: str) -> Refusal:
    """Return the 400 of a body that is not the document it should be."""
    return Refusal(400, names.MALFORMED_XML, message)


def denied(message: str, code: str = names.ACCESS_DENIED) -> Refusal:
    """Return a 403."""
    return Refusal(403, code, message)


def not_found(what: str, identifier: str, code: str = names.NOT_FOUND) -> Refusal:
    """Return the 404 of a `what` (its type's name) that nothing called `identifier` matches."""
    return Refusal(404, code, f"{what} not found via identifier / bean property value '{identifier}'.")


def conflict(message: str, code: str = names.CONFLICT) -> Refusal:
    """Return a 409."""
    return Refusal(409, code, message)


def busy(message: str, retry_after: int | None = None) -> Refusal:
    """Return a 503; with `Retry-After` when seconds are given."""
    headers = () if retry_after is None else ((names.RETRY_AFTER, str(retry_after)),)
    return Refusal(503, names.SERVICE_UNAVAILABLE, message, headers=headers)


def later(message: str) -> Refusal:
    """Return the 307 that means: send the same request again to the same place."""
    return Refusal(307, "TemporaryRedirect", message)
