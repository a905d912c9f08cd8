"""Bytes to put and to compare with what comes back: made from a seed, never stored, of any size."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache

from ds3tool.errors import ChecksumError, SourceError
from ds3tool.jobs.arrival import Arrival
from ds3tool.jobs.ends import Failure, SourceObject, TargetObject
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.messages import Response
from ds3tool.sinks.discard import DiscardSink
from ds3tool.transport.bodies import BytesBody, Wire

_BLOCK = 1 << 20
# An object's blocks differ in their first bytes, which number them: a block in another's place is seen.
_MARK = 8


@lru_cache(maxsize=8)
def _base(seed: str, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - sample data, not secrets


@dataclass(frozen=True, slots=True)
class Sample:
    """One object to be: its key, its size, and its bytes, which the seed and the key tell. Memory: 1 MiB a sample."""

    key: str
    size: int
    seed: int = 0

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes from `offset`, as many as are asked for or there are."""
        end = min(offset + length, self.size)
        parts = []
        while offset < end:
            number, inside = divmod(offset, _BLOCK)
            block = self._block(number)
            part = block[inside : inside + end - offset]
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        base = _base(f"{self.seed} {self.key}", min(self.size, _BLOCK))
        return base if not number else number.to_bytes(_MARK, "big") + base[_MARK:]

    def check(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Raise ChecksumError when `data` are not the bytes from `offset` on."""
        expected = self.read(offset, len(data))
        if expected == data:
            return
        at = next((place for place, (one, other) in enumerate(zip(expected, data, strict=False)) if one != other), 0)
        raise ChecksumError(
            f"{self.key}: byte {offset + at} is not what was put",
            key=self.key,
            offset=offset,
            expected=expected[at : at + 16].hex(),
            actual=bytes(data[at : at + 16]).hex(),
        )


@dataclass(frozen=True, slots=True)
class SampleBody:
    """A range of a sample on its way out. `break_at` bytes it ends with a SourceError, which cuts the connection."""

    sample: Sample
    offset: int
    length: int
    counter: Callable[[int], None] = lambda _: None
    break_at: int | None = None

    def send_to(self, wire: Wire) -> None:
        """Send the range, in blocks of 1 MiB."""
        end = self.length if self.break_at is None else min(self.break_at, self.length)
        for done in range(0, end, _BLOCK):
            block = self.sample.read(self.offset + done, min(_BLOCK, end - done))
            wire.send(block)
            self.counter(len(block))
        if end < self.length:
            raise SourceError(f"{self.sample.key}: the connection is cut after {end} bytes, as it is to be")


@dataclass(frozen=True, slots=True)
class OpenSample:
    """A sample while it is put."""

    sample: Sample
    words: Mapping[str, str]

    def body(self, offset: int, length: int, *, counter: Callable[[int], None]) -> SampleBody | BytesBody:
        """Return the body of a range."""
        return SampleBody(self.sample, offset, length, counter)

    def read(self, offset: int, length: int) -> bytes:
        """Return a range."""
        return self.sample.read(offset, length)

    def check_unchanged(self) -> None:
        """A sample is always what it was."""

    def metadata(self) -> Mapping[str, str]:
        """Return what is to be stored with it."""
        return self.words

    def close(self) -> None:
        """Nothing is held."""


class SampleSource:
    """Samples as a source of a put; `words` are stored with each as metadata."""

    def __init__(self, samples: Sequence[Sample], *, words: Mapping[str, str] | None = None) -> None:
        self._samples = {sample.key: sample for sample in samples}
        self._words = dict(words or {})
        self.failures: list[Failure] = []
        self.skipped: list[str] = []
        self.notes: list[str] = []

    @property
    def sequential(self) -> bool:
        """Bytes can be had in any order."""
        return False

    @property
    def distant(self) -> bool:
        """They are at hand."""
        return False

    def objects(self) -> Iterator[SourceObject]:
        """Yield the samples, as if modified at the beginning of 2024."""
        for sample in self._samples.values():
            yield SourceObject(sample.key, sample.size, 1_704_067_200_000_000_000, sample.key.encode())

    def open(self, item: SourceObject) -> OpenSample:
        """Open one."""
        return OpenSample(self._samples[item.key], self._words)


class ComparingSink(DiscardSink):
    """A sink of a get that holds every byte against its sample, beside what digests say, and keeps none.

    `compared` counts the bytes that were found the same.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        super().__init__()
        self._samples = {sample.key: sample for sample in samples}
        self._counting = threading.Lock()
        self.compared = 0

    def receive(
        self, item: TargetObject, arrival: Arrival, response: Response, *, counter: Callable[[int], None]
    ) -> str | None:
        """Compare what is left of one blob, block by block; ChecksumError for the first byte that differs."""
        for block in response.body:
            arrival.check_room(len(block))
            self._compare(item, arrival.blob.start + arrival.done, block)
            arrival.took(block)
            counter(len(block))
        return arrival.verified()

    def receive_small(self, item: TargetObject, offset: int, data: memoryview) -> None:
        """Compare a blob that came in one piece."""
        self._compare(item, offset, data)

    def _compare(self, item: TargetObject, offset: int, data: bytes | memoryview) -> None:
        self._samples[item.key].check(offset, data)
        with self._counting:
            self.compared += len(data)
