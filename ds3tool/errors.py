"""The tree of errors, and the exit code each one means; a leaf that knows no other room.

Ds3Error
├─ UsageError        asked for something impossible; nothing was sent
│  └─ ConfigError, PathNotFoundError
├─ TransportError    no complete answer came: connect, TLS, timeout
│  └─ TlsError, ProxyRefusedError, FarSideUnreachableError
├─ ProtocolError     an answer came that breaks the protocol
├─ ApplianceError    the appliance refused: status, code, message, request id
│  ├─ AccessDeniedError, NotFoundError, ConflictError, BusyError, RetryLaterError, ServerFaultError
│  └─ ForbiddenError (an AccessDeniedError), DamagedError
├─ ChecksumError     bytes came and are wrong: object, offset, expected, actual
├─ JobError          some objects failed: job id, each failure
│  └─ JobLostError   cancelled, truncated or expired under us
├─ MediaOfflineError tapes must be loaded: bar codes
├─ LockedError       another run holds this
├─ FarSideError      the service at a job's other end (S3, SNS, Firehose, Lotame) refused: status, code, request id
│  └─ FarSideDeniedError, FarSideForbiddenError, FarSideNotFoundError
├─ JournalError      what must be remembered cannot be written or read
└─ SourceError, SinkError, InterruptedRunError
"""

from __future__ import annotations

from typing import ClassVar

EXIT_CODES: dict[int, str] = {
    0: "everything asked for is done",
    1: "failed, uncategorised",
    2: "usage error; nothing was sent",
    3: "finished, some objects failed; they are listed",
    4: "bucket, object, job or path not found",
    5: "integrity failure: bytes came and are wrong",
    6: "credentials, permission or clock skew",
    7: "appliance or network unreachable, retries spent",
    8: "media offline: somebody must load tapes; bar codes are listed",
    9: "nothing to do, only with --error-if-nothing",
    10: "stopped at --max-duration or a window's end; resumable",
    11: "locked by another run",
    12: "the job was cancelled or truncated by a person; `resume JOB` plans the rest anew",
    130: "interrupted; resumable",
}

# Where several apply to one run, the first of these wins.
_EXIT_CODE_ORDER = (5, 130, 10, 12, 11, 8, 6, 7, 3)


def worst_exit_code(codes: set[int]) -> int:
    """Return the one exit code that a run with all of `codes` ends with; 0 for none."""
    codes = codes - {0}
    for code in _EXIT_CODE_ORDER:
        if code in codes:
            return code
    return min(codes, default=0)


class Ds3Error(Exception):
    """Base of every error this package raises on purpose.

    `code` is the word that scripts may compare (`-o json`), `hint` the way out for a person.
    """

    exit_code: ClassVar[int] = 1
    code: str = "Failed"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def request_id(self) -> str | None:
        """The appliance's number for the request that failed, where there was one."""
        return None


class UsageError(Ds3Error):
    """Something impossible was asked for; nothing was sent."""

    exit_code = 2
    code = "Usage"


class ConfigError(UsageError):
    """The configuration file, a profile or the environment is wrong or incomplete."""

    code = "Config"


class PathNotFoundError(UsageError):
    """A local path that was asked for is not there."""

    exit_code = 4
    code = "PathNotFound"


class TransportError(Ds3Error):
    """No complete answer came: name resolution, connect, TLS, reset, timeout.

    `may_have_arrived` is False only when the appliance cannot have seen the whole request.
    """

    exit_code = 7
    code = "Unreachable"

    def __init__(self, message: str, *, hint: str | None = None, may_have_arrived: bool = True) -> None:
        super().__init__(message, hint=hint)
        self.may_have_arrived = may_have_arrived


class TlsError(TransportError):
    """The TLS handshake or the certificate check failed; asking again would not help."""

    code = "TlsFailed"


class ProxyRefusedError(TransportError):
    """The proxy answered that it does not let this request through; asking again would not help."""

    code = "ProxyRefused"


class ProtocolError(Ds3Error):
    """An answer came that breaks HTTP, the XML or the protocol's rules."""

    code = "Protocol"


class ApplianceError(Ds3Error):
    """The appliance answered that it refuses.

    `status` is the HTTP status, `code` the word of the error document (or the status's name when there
    was none), `retry_after_seconds` the appliance's own wish.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str,
        resource: str | None = None,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.resource = resource
        self.retry_after_seconds = retry_after_seconds
        self._request_id = request_id

    @property
    def request_id(self) -> str | None:
        """The appliance's number for the refused request."""
        return self._request_id


class AccessDeniedError(ApplianceError):
    """403: unknown key, bad signature, clock skew or a missing permission."""

    exit_code = 6


class ForbiddenError(AccessDeniedError):
    """403 that is not about keys or clocks: as far as can be told, this user may not do this."""


class DamagedError(ApplianceError):
    """The appliance has found what it holds damaged, and does not serve it."""

    exit_code = 5


class NotFoundError(ApplianceError):
    """404 or 410: bucket, object, job, chunk or tape is not there (any more)."""

    exit_code = 4


class ConflictError(ApplianceError):
    """409: it exists already, is not empty, or its state forbids this."""


class BusyError(ApplianceError):
    """503: the appliance has no room or no time now, and the time for retries is spent."""

    exit_code = 7


class RetryLaterError(ApplianceError):
    """307: the appliance cannot serve this now; the same request may be sent again to the same place."""

    exit_code = 7


class ServerFaultError(ApplianceError):
    """408, 429, 500, 502, 504: the appliance, or what stands before it, fails now, and no time for retries is left."""

    exit_code = 7


class ChecksumError(Ds3Error):
    """Bytes came and are wrong: `key`, `offset` of the blob, and both digests in base64."""

    exit_code = 5
    code = "Checksum"

    def __init__(
        self, message: str, *, key: str, offset: int, expected: str, actual: str, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.key = key
        self.offset = offset
        self.expected = expected
        self.actual = actual


class JobError(Ds3Error):
    """A job could not do all that was asked: `job_id` (None before there was one)."""

    exit_code = 3
    code = "JobIncomplete"

    def __init__(self, message: str, *, job_id: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.job_id = job_id


class JobLostError(JobError):
    """The job was cancelled, truncated or expired under us.

    `reason` is one of `expired`, `cancelled`, `truncated`, `forgotten`, `completed` (without all that it was to move);
    None while nobody has found out.
    """

    exit_code = 12
    code = "JobLost"

    def __init__(
        self, message: str, *, job_id: str | None = None, reason: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, job_id=job_id, hint=hint)
        self.reason = reason


class MediaOfflineError(Ds3Error):
    """Somebody must load tapes first: `bar_codes`, sorted."""

    exit_code = 8
    code = "MediaOffline"

    def __init__(self, message: str, *, bar_codes: tuple[str, ...], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.bar_codes = bar_codes


class LockedError(Ds3Error):
    """Another run holds this."""

    exit_code = 11
    code = "Locked"


class JournalError(Ds3Error):
    """What must be remembered of a job cannot be written, or what was cannot be read: a full disk, a spoiled file."""

    code = "Journal"


class FarSideUnreachableError(TransportError):
    """No complete answer came from the service at a job's other end (S3, Lotame), its retries being spent.

    What was to go to the appliance, or to be told to it, then has not arrived there.
    """

    code = "FarSideUnreachable"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint, may_have_arrived=False)


class FarSideError(Ds3Error):
    """The service at a job's other end answered that it refuses: S3, SNS, Firehose, CloudFormation, Lotame.

    `status` is the HTTP status (0 where there was no answer), `code` the service's own word for it.
    """

    code = "FarSide"

    def __init__(
        self, message: str, *, status: int = 0, code: str = "", request_id: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code or type(self).code
        self._request_id = request_id

    @property
    def request_id(self) -> str | None:
        """The service's number for the refused request."""
        return self._request_id


class FarSideDeniedError(FarSideError):
    """Who asks is not known, or not any more: no credentials, expired or wrong ones, a clock that is off."""

    exit_code = 6
    code = "FarSideDenied"


class FarSideForbiddenError(FarSideError):
    """Who asks is known, and may not do this."""

    exit_code = 6
    code = "FarSideForbidden"


class FarSideNotFoundError(FarSideError):
    """A bucket, object, topic, stream or feed is not there."""

    exit_code = 4
    code = "FarSideNotFound"


class SourceError(Ds3Error):
    """A source cannot be read, or changed while it was read."""

    exit_code = 3
    code = "Source"


class SinkError(Ds3Error):
    """A target cannot be written."""

    exit_code = 3
    code = "Sink"


class InterruptedRunError(Ds3Error):
    """A person or a signal stopped the run."""

    exit_code = 130
    code = "Interrupted"
