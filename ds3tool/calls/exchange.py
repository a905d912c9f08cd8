"""How a call is made: a request goes out, and what its reply means comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeVar

from ds3tool.protocol import names
from ds3tool.protocol.messages import Request, Response
from ds3tool.protocol.pages import Page

if TYPE_CHECKING:
    from ds3tool.transport.bodies import OutgoingBody

T = TypeVar("T")


class Exchange(Protocol):
    """Sends one request and returns what `parse` makes of the successful reply.

    It signs, sends, and sends again where that may help; raises `responses.error(...)` for a refusal and
    TransportError when no complete answer came. `parse` runs while the connection is held, and from the start
    again when its reply broke off. `body` is an object's bytes, beside the request. `retry_busy` False hands 307
    and 503 to the caller at once, for whom waiting is an answer. `ask` is called before a request is sent again of
    which it is not known whether it was carried out: it returns the outcome, or None when it was not. Sent again
    is what `again` returns, where that is given: as when part of the answer is there already. Called from any number
    of threads.
    """

    def exchange(
        self,
        request: Request,
        parse: Callable[[Response], T],
        *,
        body: OutgoingBody | None = None,
        retry_busy: bool = True,
        ask: Callable[[], T | None] | None = None,
        again: Callable[[], Request] | None = None,
    ) -> T:
        """Send and parse."""
        ...


class Caller:
    """Makes calls through an `Exchange`; the base of everything that has methods for them."""

    _exchange: Exchange

    def _send(self, request: Request, parse: Callable[[Response], T]) -> T:
        return self._exchange.exchange(request, parse)

    def _all(self, build: Callable[[int], Request], parse: Callable[[Response], Page[T]]) -> Iterator[T]:
        """Yield the items of every page; one page is held at a time."""
        offset = 0
        while True:
            page = self._send(build(offset), parse)
            yield from page.items
            offset += len(page.items)
            if not page.items or page.remaining == 0:
                return
            if page.total is not None:
                if offset >= page.total:
                    return
            elif page.remaining is None and len(page.items) < names.MAX_KEYS_PER_REQUEST:
                return
