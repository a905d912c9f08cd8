"""Calls about tapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ds3tool.calls.exchange import Caller
from ds3tool.protocol import names, responses, tape_requests

if TYPE_CHECKING:
    from ds3tool.protocol.media_model import Tape, TapeFailure, TapeState


class TapeCalls(Caller):
    """What can be asked and wanted of tapes; every method may raise what `Ds3Client` says."""

    def list_tapes(
        self,
        *,
        bar_code: str | None = None,
        state: TapeState | None = None,
        bucket: str | None = None,
        storage_domain: str | None = None,
        tape_type: str | None = None,
        assigned_to_storage_domain: bool | None = None,
        full_of_data: bool | None = None,
    ) -> Iterator[Tape]:
        """Yield the tapes that match everything given."""
        return self._all(
            lambda offset: tape_requests.list_tapes(
                bar_code=bar_code,
                state=state,
                bucket=bucket,
                storage_domain=storage_domain,
                tape_type=tape_type,
                assigned_to_storage_domain=assigned_to_storage_domain,
                full_of_data=full_of_data,
                page_offset=offset,
            ),
            responses.tapes,
        )

    def get_tape(self, bar_code_or_id: str) -> Tape:
        """Return one tape."""
        return self._send(tape_requests.get_tape(bar_code_or_id), responses.tape)

    def eject_tape(self, bar_code: str, *, label: str | None = None, location: str | None = None) -> Tape:
        """Have one tape moved to the library's door; `label` and `location` are kept with it."""
        return self._send(tape_requests.eject_tape(bar_code, label=label, location=location), responses.tape)

    def eject_all_tapes(self, *, label: str | None = None, location: str | None = None) -> tuple[TapeFailure, ...]:
        """Eject every tape; return those that could not be."""
        return self._send(tape_requests.eject_all_tapes(label=label, location=location), responses.tape_failures)

    def eject_storage_domain(
        self,
        storage_domain: str,
        *,
        bucket: str | None = None,
        label: str | None = None,
        location: str | None = None,
    ) -> tuple[TapeFailure, ...]:
        """Eject the tapes of a storage domain, or of one bucket in it; return those that could not be."""
        request = tape_requests.eject_all_tapes(
            label=label, location=location, storage_domain=storage_domain, bucket=bucket
        )
        return self._send(request, responses.tape_failures)

    def cancel_eject_tape(self, bar_code: str) -> Tape:
        """Take an eject back that has not happened yet."""
        return self._send(tape_requests.tape_operation(names.CANCEL_EJECT, bar_code), responses.tape)

    def online_tape(self, bar_code: str) -> Tape:
        """Bring one tape that was put back into the library online."""
        return self._send(tape_requests.tape_operation(names.ONLINE, bar_code), responses.tape)

    def online_all_tapes(self) -> tuple[TapeFailure, ...]:
        """Bring every offline tape online; return those that could not be."""
        return self._send(tape_requests.tape_operation(names.ONLINE), responses.tape_failures)
