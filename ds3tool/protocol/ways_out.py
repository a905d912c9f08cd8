"""What a person can do about a refusal, by what was asked for and what the appliance said; None where nobody knows."""

from __future__ import annotations

from ds3tool.protocol import names
from ds3tool.protocol.messages import Request

_GONE = (404, 410)


def way_out(request: Request, status: int, code: str) -> str | None:
    """Return the way out of a refusal of `status` and `code`, as a hint that names commands where one helps."""
    by_code = _by_code(request, status, code)
    if by_code is not None:
        return by_code
    query = dict(request.query)
    first, _, rest = request.path.strip("/").partition("/")
    if first == "_rest_":
        kind, _, name = rest.partition("/")
        return _of_resource(kind, name, request.method, query, status)
    if not rest:
        return _NO_BUCKET if status in _GONE else None
    return _of_object(first, request.method, query.get("job"), status)


_NO_BUCKET = "to see the buckets there are: ds3tool ls; to make one: ds3tool mb ds3://BUCKET"


def _by_code(request: Request, status: int, code: str) -> str | None:
    if code == names.BUCKET_NOT_EMPTY:
        return "versions that are not the latest count too: ds3tool ls --versions -r; all of it goes with rb --force"
    if code == names.BUCKET_ALREADY_EXISTS:
        return "to see the buckets you may use: ds3tool ls; if it is not among them, another user has that name"
    if code == names.OBJECT_ALREADY_EXISTS:
        return "to skip, replace or rename what is there already: --if-exists"
    if code == names.NO_SUCH_BUCKET:
        return _NO_BUCKET
    if status == 400 and code == names.BAD_DIGEST and request.method == "GET":
        return "no good copy of it is left on the appliance: it has to be put again from its source"
    return None


def _of_resource(kind: str, name: str, method: str, query: dict[str, str | None], status: int) -> str | None:
    operation = query.get("operation")
    if status == 503 and operation == names.START_BULK_PUT:
        return "smaller jobs may find room where a whole one does not: --max-job-size"
    if status == 400 and operation in {names.START_BULK_PUT, names.START_BULK_GET}:
        return "to see the names and sizes that it was asked for: the same command with --dry-run"
    if status in _GONE:
        if kind == "bucket" and operation in {names.START_BULK_GET, names.START_BULK_VERIFY}:
            return f"something of what is asked for is not there (any more): ds3tool ls ds3://{name}/"
        if kind == "bucket":
            return _NO_BUCKET
        if kind == "job" and method == "GET":
            return "to see the jobs there are: ds3tool job ls, with --completed those that have ended"
        if kind == "job":
            return "it has ended already: ds3tool job ls --completed, or --canceled"
        if kind == "job_chunk":
            return f"its job is over: ds3tool job show {query.get('job') or 'JOB'}"
        if kind == "tape":
            return "to see the tapes there are: ds3tool tape ls"
    if status == 409 and kind == "tape":
        return f"the state it is in does not allow that now: ds3tool tape show {name or 'BAR_CODE'}"
    if status == 409 and kind == "job":
        return f"the state it is in does not allow that now: ds3tool job show {name or 'JOB'}"
    return None


def _of_object(bucket: str, method: str, job_id: str | None, status: int) -> str | None:
    if job_id is None:  # who asks for an object by its name knows more
        return None
    job = f"ds3tool job show {job_id}"
    if status in _GONE and method == "PUT":
        return f"its job is over, or was never to have it: {job}"
    if status in _GONE:
        return f"it was deleted since its job was made, or the job is over: ds3tool ls ds3://{bucket}/, {job}"
    if status == 409:
        return f"somebody else works on the same job, or its state has changed: {job}"
    if status == 400:
        return "nothing of these bytes was taken; what it says is why. Put it again, and if that stays, ask who runs it"
    return None
