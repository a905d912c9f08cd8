"""A sink that keeps nothing: every blob is held against its digest, and let go. What `verify sample` reads into."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from ds3tool.errors import Ds3Error, SinkError
from ds3tool.jobs.arrival import Arrival
from ds3tool.jobs.ends import TargetObject
from ds3tool.protocol.messages import Response


class DiscardSink:
    """Takes any object under any name, in any order, and has room for all of them. Memory: one block a blob.

    Nothing is ever there under a name, and the objects that are whole are told by `settle` as with every sink.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._settled: list[tuple[TargetObject, Ds3Error | None]] = []

    @property
    def sequential(self) -> bool:
        """Blobs are taken in any order."""
        return False

    @property
    def notes(self) -> list[str]:
        """There is nothing that could not be made again."""
        return []

    # -- names -------------------------------------------------------------------------------------------------

    def check_name(self, name: str) -> None:
        """Take any name: none is given to anything."""

    def existing_size(self, name: str) -> int | None:  # noqa: ARG002  # as every sink is asked
        """Return None: nothing is there."""
        return None

    def read_existing(self, name: str, offset: int, length: int) -> bytes:  # noqa: ARG002  # as every sink is asked
        """Raise SinkError: nothing was kept."""
        raise SinkError(f"{name}: nothing was kept that could be read")

    def is_link(self, name: str) -> bool:  # noqa: ARG002  # as every sink is asked
        """Return False."""
        return False

    def free_name(self, name: str) -> str:
        """Return `name`."""
        return name

    def free_bytes(self) -> int | None:
        """Return None: no room is needed."""
        return None

    @property
    def wants_metadata(self) -> bool:
        """Nothing is made of an object's metadata."""
        return False

    def describe(self, item: TargetObject, metadata: Mapping[str, str]) -> None:
        """Take no notice."""

    # -- bytes -------------------------------------------------------------------------------------------------

    def receive(
        self,
        item: TargetObject,  # noqa: ARG002  # as every sink is asked
        arrival: Arrival,
        response: Response,
        *,
        counter: Callable[[int], None],
    ) -> str | None:
        """Read what is left of one blob, and verify it once it is whole."""
        with arrival.taking() as took:
            for block in response.body:
                arrival.check_room(len(block))
                took(block)
                counter(len(block))
        return arrival.verified()

    def receive_small(self, item: TargetObject, offset: int, data: memoryview) -> None:
        """Let go of a blob that was verified by the caller."""

    # -- the end of an object ----------------------------------------------------------------------------------

    def finish(self, item: TargetObject) -> None:
        """Note that an object is through."""
        with self._lock:
            self._settled.append((item, None))

    def abandon(self, item: TargetObject) -> None:
        """Nothing was kept."""

    def settle(self, *, wait: bool) -> list[tuple[TargetObject, Ds3Error | None]]:  # noqa: ARG002  # as every sink is asked
        """Return the objects that were finished since the last call."""
        with self._lock:
            settled, self._settled = self._settled, []
        return settled

    def close(self) -> None:
        """Nothing is held."""
