"""What this host has sent, held against what the appliance states of a blob that is fetched."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ds3tool.errors import ChecksumError, Ds3Error
from ds3tool.jobs.known_digests import KnownDigests
from ds3tool.protocol.checksums import ExpectedChecksum
from ds3tool.protocol.ranges import ByteRange

if TYPE_CHECKING:
    from ds3tool.jobs.verification import Ledger

_log = logging.getLogger(__name__)


class SentDigests:
    """Asks a ledger for the digests of blobs, where the appliance states none; `always`: where it states one, too.

    A ledger has to read journals before it can answer, so `open_ledger` is called when something is first asked; if
    it fails, nothing is known. Safe for several threads. Memory: the ledger's, and the blobs of objects under way.
    """

    def __init__(self, open_ledger: Callable[[], Ledger], *, always: bool) -> None:
        self._open_ledger = open_ledger
        self._always = always
        self._lock = threading.Lock()
        self._opened = False
        self._ledger: Ledger | None = None
        # By key: the version that was asked for, and what is known of it.
        self._known: dict[str, tuple[str | None, KnownDigests | None]] = {}

    @property
    def asked_always(self) -> bool:
        """Whether it has a say also where the appliance states a digest."""
        return self._always

    def expected(
        self, key: str, version_id: str | None, blob: ByteRange, stated: ExpectedChecksum | None
    ) -> ExpectedChecksum | None:
        """Return what a blob's bytes must be held against: what the appliance states, else what was sent.

        ChecksumError when they are asked for both, of one type, and differ.
        """
        if stated is not None and not self._always:
            return stated
        sent = self._sent(key, version_id, blob)
        if sent is None or stated is None:
            return stated or sent
        if sent.type == stated.type and sent.value != stated.value:
            raise ChecksumError(
                f"{key}: the appliance states another digest of the blob at {blob.start} than was sent (journal)",
                key=key,
                offset=blob.start,
                expected=sent.value,
                actual=stated.value,
                hint="without --verify only what the appliance states counts: then it is restored as it is there",
            )
        return stated

    def forget(self, key: str) -> None:
        """An object is through, or will not be finished."""
        with self._lock:
            self._known.pop(key, None)

    def _sent(self, key: str, version_id: str | None, blob: ByteRange) -> ExpectedChecksum | None:
        with self._lock:
            known = self._known_of(key, version_id)
        if known is None or known.kind is None or (blob.start, blob.length) not in known.cuts:
            return None
        return ExpectedChecksum(known.kind, known.blobs[blob.start])

    def _known_of(self, key: str, version_id: str | None) -> KnownDigests | None:
        asked, known = self._known.get(key, (None, None))
        if key in self._known and asked == version_id:
            return known
        known = None
        try:
            if not self._opened:
                self._opened = True
                self._ledger = self._open_ledger()
            if self._ledger is not None:
                known = self._ledger.digests_of(key, version_id)
        except Ds3Error as error:
            _log.warning("what was sent is not known: %s", error)
        self._known[key] = version_id, known
        return known
