"""Cases of requests that an appliance must refuse, each with the status that says why."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ds3tool.certification.ground import Ground, read
from ds3tool.certification.sheet import NotApplicableError, UnexpectedError
from ds3tool.certification.users import SecondUser
from ds3tool.clock import RealClock
from ds3tool.errors import AccessDeniedError, ApplianceError, ConflictError, Ds3Error, NotFoundError
from ds3tool.protocol.checksums import digest_of, to_base64
from ds3tool.protocol.model import ObjectToGet, ObjectToPut
from ds3tool.transport.bodies import BytesBody

_SKEW_SECONDS = 3600.0


class _LateClock(RealClock):
    """This host's clock, an hour ago."""

    def time(self) -> float:
        return super().time() - _SKEW_SECONDS


def refused(act: Callable[[], object], statuses: Sequence[int], what: str) -> ApplianceError:
    """Return the refusal that `act` meets; UnexpectedError when it is another one, or none."""
    try:
        act()
    except ApplianceError as error:
        if error.status in statuses:
            return error
        raise UnexpectedError(f"{what}: {error.status} {error.code}") from error
    except Ds3Error as error:
        raise UnexpectedError(f"{what}: {error.message}") from error
    raise UnexpectedError(f"{what}: it was not refused")


def missing_object(ground: Ground) -> str:
    """Ask for what is not there: by HEAD, by GET, and in a bulk get; and of a bucket that is not there."""
    client, key = ground.client, f"{ground.prefix}never put"
    acts: dict[str, Callable[[], object]] = {
        "HEAD": lambda: client.head_object(ground.bucket, key),
        "GET": lambda: client.get_object(ground.bucket, key, read),
        "a bulk get": lambda: client.create_get_job(ground.bucket, [ObjectToGet(key)]),
        "a bucket that is not there": lambda: client.get_bucket(f"{ground.bucket}-never-made"),
    }
    for what, act in acts.items():
        if not isinstance(refused(act, (404,), what), NotFoundError):
            raise UnexpectedError(f"{what}: its 404 was not understood")
    return f"404 for {', '.join(acts)}"


def wrong_keys(ground: Ground) -> str:
    """Ask with a wrong secret key, and with an access key that nobody has."""
    with ground.client_with(secret_key=ground.connection.secret_key[::-1] + "x") as other:
        secret = refused(other.get_service, (403,), "a wrong secret key")
    with ground.client_with(access_key="bm9ib2R5LWhhcy10aGlz") as other:
        access = refused(other.get_service, (403,), "an unknown access key")
    return f"403 {secret.code}, 403 {access.code}"


def no_permission(ground: Ground) -> str:
    """Make a user whom nobody lets in, and have him look at the bucket, get an object and put one."""
    sample = ground.sample("not for everybody", 100)
    ground.put_alone(sample)
    user = SecondUser.make(ground)
    with ground.client_with(access_key=user.access_key, secret_key=user.secret_key) as other:
        _ = other.get_service()  # his keys are good: what follows is about permissions
        acts: dict[str, Callable[[], object]] = {
            "list": lambda: list(other.list_objects(ground.bucket)),
            "get": lambda: other.get_object(ground.bucket, sample.key, read),
            "put": lambda: other.put_object(ground.bucket, sample.key + " 2", BytesBody(b"x")),
            "a bulk get": lambda: other.create_get_job(ground.bucket, [ObjectToGet(sample.key)]),
        }
        for what, act in acts.items():
            refused(act, (403,), what)
    return f"403 for {', '.join(acts)}"


def skewed_clock(ground: Ground) -> str:
    """Ask with the date of an hour ago."""
    with ground.client_with(clock=_LateClock()) as other:
        error = refused(other.get_service, (403,), "a request dated an hour ago")
    if not isinstance(error, AccessDeniedError):
        raise UnexpectedError(f"403 {error.code} was not understood as being about the clock")
    if "clock" not in (error.hint or "").lower() and "time" not in error.code.lower():
        raise UnexpectedError(f"403 {error.code} says nothing of the clock: {error.message}")
    return f"403 {error.code}"


def wrong_port(ground: Ground) -> str:
    """Ask the management port for data."""
    if ground.management is None:
        raise NotApplicableError("no management port was named: --management URL")
    with ground.client_with(endpoint=ground.management) as other:
        error = refused(other.get_service, range(300, 600), "the management port")
    if error.code != "ManagementPort":
        raise UnexpectedError(f"{error.status} {error.code}: it cannot be told from an appliance that lacks something")
    return f"{error.status}, and known as the management port"


def bad_digest(ground: Ground) -> str:
    """Put bytes beside the digest of others, by themselves and in a job."""
    client, bucket = ground.client, ground.bucket
    kind = ground.policy.checksum_type
    wrong = (kind, to_base64(digest_of(kind, b"other bytes")))
    alone, in_job = ground.sample("bad digest", 1000), ground.sample("bad digest in a job", 1000)
    body = BytesBody(alone.read(0, alone.size))
    first = refused(lambda: client.put_object(bucket, alone.key, body, checksum=wrong), (400,), "a put")
    job = client.create_put_job(bucket, [ObjectToPut(in_job.key, in_job.size)])
    ground.note_job(job.job.id)
    key, offset, length = next(ground.blobs_of(job))
    body = BytesBody(in_job.read(offset, length))

    def put() -> object:
        return client.put_object(bucket, key, body, job_id=job.job.id, offset=offset, checksum=wrong)

    second = refused(put, (400,), "a blob")
    for sample in (alone, in_job):
        if ground.exists(sample):
            raise UnexpectedError(f"{sample.key} is there, though it was refused")
    client.cancel_job(job.job.id)
    return f"400 {first.code} for an object, 400 {second.code} for a blob; neither is there"


def same_name(ground: Ground) -> str:
    """Plan a second put of a name that is taken."""
    client, bucket = ground.client, ground.bucket
    sample = ground.sample("taken", 10)
    ground.put_alone(sample)
    policy = ground.policy
    try:
        job = client.create_put_job(bucket, [ObjectToPut(sample.key, 10)])
    except ConflictError as error:
        if ground.keeps_versions:
            raise UnexpectedError(f"409 {error.code}, and the policy's versioning is {policy.versioning}") from error
        return f"409 {error.code}, as the policy keeps no versions"
    ground.note_job(job.job.id)
    client.cancel_job(job.job.id)
    if not ground.keeps_versions:
        raise UnexpectedError("a job was made, and the policy keeps no versions")
    return f"a job for one more version was made, as the policy has it: {policy.versioning}"
