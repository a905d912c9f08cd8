"""A local folder whose files are read again before they appear, where a digest of the whole is kept with the object."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ds3tool.errors import ChecksumError, Ds3Error, InterruptedRunError
from ds3tool.jobs.ends import TargetObject
from ds3tool.jobs.known_digests import READ_BYTES
from ds3tool.protocol.checksums import from_metadata, new_hasher, to_base64
from ds3tool.protocol.model import ChecksumType
from ds3tool.sinks.local import LocalSink


class RereadSink(LocalSink):
    """A local sink that holds each whole file against the digests in its object's metadata (`ds3tool-sha256`).

    That is beside what every sink does, which holds each blob against its own digest as it comes: here the bytes are
    those that the file system gives back. An object without such metadata, or of which ranges are wanted, appears as
    it does from any sink. Reading happens where `finish` is called, and takes 256 KiB.
    """

    def __init__(self, root: str, **how: Any) -> None:  # noqa: ANN401  # as LocalSink takes them
        super().__init__(root, **how)
        self._expected_lock = threading.Lock()
        self._expected: dict[str, Mapping[ChecksumType, str]] = {}
        self._stopped: Callable[[], bool] = lambda: False

    def give_up_when(self, stopped: Callable[[], bool]) -> None:
        """Let a long reading end once `stopped` says so; its object fails then, and is as it was before."""
        self._stopped = stopped

    @property
    def wants_metadata(self) -> bool:
        """Whether digests are to be compared: always."""
        return True

    def describe(self, item: TargetObject, metadata: Mapping[str, str]) -> None:
        """Keep the digests of the whole, too."""
        expected = from_metadata(metadata)
        if expected and not item.ranges:
            with self._expected_lock:
                self._expected[item.name] = expected
        super().describe(item, metadata)

    def finish(self, item: TargetObject) -> None:
        """Let a whole object appear under its name, if what was stored of it has the digests that it should have."""
        with self._expected_lock:
            expected = self._expected.pop(item.name, {})
        try:
            self._check(item, expected)
        except Ds3Error as failed:
            self.fail(item, failed)
        else:
            super().finish(item)

    def finish_all(self, items: Sequence[TargetObject]) -> None:
        """Check one after the other."""
        for item in items:
            self.finish(item)

    def abandon(self, item: TargetObject) -> None:
        """Drop what was stored of an object, and what it should have been."""
        with self._expected_lock:
            self._expected.pop(item.name, None)
        super().abandon(item)

    def _check(self, item: TargetObject, expected: Mapping[ChecksumType, str]) -> None:
        hashers = {kind: new_hasher(kind) for kind in expected}
        for offset in range(0, item.size if hashers else 0, READ_BYTES):
            if self._stopped():
                raise InterruptedRunError(f"{item.name} was not read to its end")
            block = self.read_unfinished(item, offset, min(READ_BYTES, item.size - offset))
            for hasher in hashers.values():
                hasher.update(block)
        for kind, hasher in hashers.items():
            actual = to_base64(hasher.digest())
            if actual != expected[kind]:
                raise ChecksumError(
                    f"{item.key}: what was restored has not the {kind} that was kept with the object",
                    key=item.key,
                    offset=0,
                    expected=expected[kind],
                    actual=actual,
                    hint="each of its blobs has its digest, so it was put so, or the metadata are another object's; "
                    "without --verify it is restored as it is",
                )
