"""What boto3 raises, in our words: who is not known, what is not there, what is out of reach, what was refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ds3tool.errors import (
    Ds3Error,
    FarSideDeniedError,
    FarSideError,
    FarSideForbiddenError,
    FarSideNotFoundError,
    FarSideUnreachableError,
    UsageError,
)

# Words of services that say: nobody knows you, or not any more. Source: S3, STS and SNS error lists.
_UNKNOWN_CALLER = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "MissingAuthenticationToken",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"})
_FORBIDDEN = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError", "AllAccessDisabled"})
_NOT_THERE = frozenset(
    {"NoSuchBucket", "NoSuchKey", "NoSuchVersion", "NoSuchUpload", "NotFound", "ResourceNotFoundException"}
)
# Exceptions of botocore that mean that nobody answered.
_UNREACHABLE = (
    "ConnectionError",
    "HTTPClientError",
    "IncompleteReadError",
    "ReadTimeoutError",
    "ResponseStreamingError",
)
_NO_CREDENTIALS = (
    "CredentialRetrievalError",
    "NoAuthTokenError",
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "SSOError",
    "TokenRetrievalError",
)
_CREDENTIALS_HINT = "see what `aws sts get-caller-identity` says with the same profile and environment"
_NO_CREDENTIALS_HINT = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of ~/.aws/config with --s3-profile; "
    + _CREDENTIALS_HINT
)
_UNREACHABLE_HINT = "is there a network? Another S3 than AWS's is named by --s3-endpoint, or AWS_ENDPOINT_URL"
_NO_BUCKET_HINT = "to see the buckets there are: ds3tool s3 ls"


@contextmanager
def far_side(what: str) -> Iterator[None]:
    """Let whatever boto3 raises inside come out as a Ds3Error; `what` is the service or the object that was asked."""
    import botocore.exceptions
    import botocore.parsers

    try:
        yield
    except botocore.parsers.ResponseParserError as error:  # a proxy's page, or half a document
        raise FarSideUnreachableError(
            f"{what}: the answer is none of the service's: {_sentence(error)[:200]}"
        ) from error
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        raise told(error, what) from error


def check_named(answer: Any, what: str, name: str = "ETag") -> None:  # noqa: ANN401  # botocore's own dict
    """Raise FarSideUnreachableError for an answer that lacks what each of the service's has: a proxy gave it."""
    if not answer.get(name):
        raise FarSideUnreachableError(f"{what}: the answer is none of the service's: no {name}")


def told(error: Exception, what: str) -> Ds3Error:
    """Return an exception of botocore as the error that says it of `what`."""
    import botocore.exceptions

    if isinstance(error, botocore.exceptions.ClientError):
        return _refusal(error.response, what)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & set(_NO_CREDENTIALS):
        return FarSideDeniedError(f"{what}: {_sentence(error)}", hint=_NO_CREDENTIALS_HINT)
    if kinds & set(_UNREACHABLE):
        hint = _UNREACHABLE_HINT if "EndpointConnectionError" in kinds else None
        return FarSideUnreachableError(f"{what}: {_sentence(error)}", hint=hint)
    if kinds & {"ParamValidationError", "InvalidRegionError", "InvalidEndpointConfigurationError"}:
        return UsageError(f"{what}: {_sentence(error)}")
    return FarSideError(f"{what}: {_sentence(error)}")


def _refusal(response: Any, what: str) -> FarSideError | FarSideUnreachableError:  # noqa: ANN401  # botocore's own dict
    """Return what a service's refusal means."""
    said, about = response.get("Error", {}), response.get("ResponseMetadata", {})
    code, status = str(said.get("Code", "")), int(about.get("HTTPStatusCode", 0))
    words = str(said.get("Message") or "").strip().rstrip(".") or "no reason was given"
    message = f"{what}: {words} ({code or status})"
    if status >= 500 or code in {"SlowDown", "Throttling", "ThrottlingException", "TooManyRequestsException"}:
        return FarSideUnreachableError(message)
    kind: type[FarSideError] = FarSideError
    hint = None
    if code in _UNKNOWN_CALLER:
        kind, hint = FarSideDeniedError, _CREDENTIALS_HINT
        if code in _EXPIRED:
            hint = "its credentials have expired: get new ones (`aws sso login`, a new session token), then go on"
        elif code == "RequestTimeTooSkewed":
            hint = "set this host's clock"
    elif code in _NOT_THERE or status == 404:
        kind = FarSideNotFoundError
        hint = _NO_BUCKET_HINT if code == "NoSuchBucket" else None
    elif code in _FORBIDDEN or status == 403:
        kind = FarSideForbiddenError
    return kind(message, status=status, code=code, request_id=about.get("RequestId"), hint=hint)


def _sentence(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
