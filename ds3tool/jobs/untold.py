"""What has come about in a job and nobody was told of yet: blobs through, objects ended, objects that failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

from ds3tool.errors import Ds3Error
from ds3tool.jobs.mover import Mover
from ds3tool.jobs.recorder import MovedBlobs
from ds3tool.jobs.state import JobState
from ds3tool.lazy_dataclass import dataclass


@dataclass(slots=True)
class Untold:
    """Gathers from several threads what one of them hands on; both under the lock of whoever has it.

    `numbers` are those of blobs that are through, with their `checksums`; `ended` and `failed` objects by their
    numbers in the plan.
    """

    numbers: list[int] = field(default_factory=list)
    checksums: list[str | None] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    failed: list[tuple[int, Ds3Error]] = field(default_factory=list)

    def add_moved(self, numbers: Sequence[int], checksums: Sequence[str | None], mover: Mover) -> None:
        """Add blobs that are through, but for those that the mover keeps back."""
        keeps_back = mover.keeps_back
        if keeps_back is None:
            self.numbers += numbers
            self.checksums += checksums
            return
        for number, checksum in zip(numbers, checksums, strict=True):
            if not keeps_back(number):
                self.numbers.append(number)
                self.checksums.append(checksum)

    def take(self) -> Untold:
        """Return what has gathered, and begin anew."""
        taken = Untold(self.numbers, self.checksums, self.ended, self.failed)
        self.numbers, self.checksums, self.ended, self.failed = [], [], [], []
        return taken

    def moved(self, state: JobState, mover: Mover) -> MovedBlobs:
        """Return the blobs that are through as the recorder wants them."""
        blobs, numbers = state.blobs, self.numbers
        return MovedBlobs(
            list(map(state.object_of.__getitem__, numbers)),
            list(map(blobs.offsets.__getitem__, numbers)),
            list(map(blobs.lengths.__getitem__, numbers)),
            mover.checksum_kinds(numbers),
            self.checksums,
            blobs.version_ids.of(numbers) if mover.method == "PUT" else (),
        )
