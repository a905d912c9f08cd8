"""Blobs of a resumed put of which only the earlier run, or only the appliance, knows that they are through."""

from __future__ import annotations

from enum import IntEnum


class Doubt(IntEnum):
    """Why it is not known of a blob of a resumed put whether it is through."""

    NONE = 0
    # The appliance says that it has it, and nobody recorded that: READY at once, to be held against the source.
    UNRECORDED = 1
    # It was recorded, and is not in the cache any more: on tape, unless a chunk offers it again.
    NOT_IN_CACHE = 2
    # Nobody knows of it: its chunk is on tape and was left out of the list, or its job was never to have it.
    UNLISTED = 3
    # It was not there when the job was listed, and the job has completed since: the last of the earlier run was late.
    OVERTAKEN = 4


class Doubts:
    """The doubts of one job's blobs, by number; false for a job that was not resumed, where nothing is doubtful.

    `waiting` is how many of the doubtful blobs wait for their turn.
    """

    def __init__(self, blobs: int) -> None:
        self._why = bytearray(blobs)
        self.waiting = 0

    def __bool__(self) -> bool:
        return bool(self._why)

    def __contains__(self, why: Doubt) -> bool:
        return why in self._why

    def __getitem__(self, number: int) -> Doubt:
        return Doubt(self._why[number]) if self._why else Doubt.NONE

    def add(self, number: int, why: Doubt, *, waits: bool) -> None:
        """Doubt a blob."""
        self._why[number] = why
        self.waiting += waits

    def trust(self, number: int) -> None:
        """A blob that waits is offered, or has come to its end: nobody need ask after it any more."""
        if self._why and self._why[number]:
            self._why[number] = Doubt.NONE
            self.waiting -= 1

    def not_there(self, number: int) -> None:
        """A doubtful blob that was asked after waits: what nobody recorded is sure not to be there, others may be."""
        if self._why[number] == Doubt.UNRECORDED:
            self._why[number] = Doubt.NONE
        else:
            self.waiting += 1
