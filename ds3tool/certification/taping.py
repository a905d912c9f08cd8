"""Cases of tape and of the cache before it."""

from __future__ import annotations

from collections.abc import Callable

from ds3tool.certification.ground import Ground
from ds3tool.certification.samples import Sample, SampleBody
from ds3tool.certification.sheet import NotApplicableError, UnexpectedError
from ds3tool.errors import BusyError, ConflictError, ForbiddenError, NotFoundError, RetryLaterError
from ds3tool.jobs.copies import copies_of
from ds3tool.protocol.model import CacheFilesystem, JobDetails, ObjectToGet, ObjectToPut, PlacedBlob
from ds3tool.sizes import format_duration, format_size


def _placed(ground: Ground, samples: list[Sample]) -> dict[str, list[PlacedBlob]]:
    found: dict[str, list[PlacedBlob]] = {sample.key: [] for sample in samples}
    asked = [ObjectToGet(sample.key) for sample in samples]
    for blob in ground.client.get_blob_placement(ground.bucket, asked):
        found.setdefault(blob.blob.key, []).append(blob)
    return found


def _wait_for_copies(ground: Ground, samples: list[Sample]) -> int:
    """Wait until every sample has the copies that the policy wants on media; return how many these are."""
    wanted = ground.copies_wanted()

    def all_there() -> bool:
        return all(copies_of(blobs).total >= wanted for blobs in _placed(ground, samples).values())

    ground.until(all_there, within=ground.extent.within_seconds, what=f"{wanted} copies on media")
    return wanted


def persisted(ground: Ground) -> str:
    """Put a few objects and wait until their placement names as many media as the data policy wants."""
    samples = [ground.sample(f"persisted {number}", ground.extent.blob // 2 + number) for number in range(3)]
    result = ground.put(samples, blob=ground.extent.blob)
    wanted = _wait_for_copies(ground, samples)
    tapes = {
        tape.bar_code for blobs in _placed(ground, samples).values() for one in blobs for tape in one.placement.tapes
    }
    job = ground.client.get_job(result.jobs[0].job.id).job
    copies = "1 copy" if wanted == 1 else f"{wanted} copies"
    where = ", ".join(sorted(tapes)) or "pools"
    return f"{copies} of each of {len(samples)} objects, on {where}; the job is {job.status}"


def after_reclaim(ground: Ground) -> str:
    """Put objects, wait for tape, empty the cache, and get them back."""
    samples = [ground.sample(f"reclaimed {number}", ground.extent.blob + 1000 * number) for number in range(2)]
    ground.put(samples, blob=ground.extent.blob)
    _wait_for_copies(ground, samples)
    try:
        ground.client.reclaim_cache()
    except (ForbiddenError, NotFoundError, ConflictError) as error:
        raise NotApplicableError(f"this user may not have the cache emptied: {error.message}") from error

    def out_of_cache() -> bool:
        return not any(one.blob.in_cache for blobs in _placed(ground, samples).values() for one in blobs)

    ground.until(out_of_cache, within=min(60.0, ground.extent.within_seconds), what="blobs that leave the cache")
    compared, size = ground.get(samples), sum(sample.size for sample in samples)
    # A blob that was fetched twice counts twice.
    if compared < size:
        raise UnexpectedError(f"{compared:,} of {size:,} bytes came back")
    return f"{format_size(size)} were read from tape and came back the same"


def cache_full(ground: Ground) -> str:
    """Plan more than the cache holds, see that the rest has to wait, and put more than it holds."""
    cache = _fillable_cache(ground)
    seen = _fill(ground, cache)
    # A new one for each: what is on tape by then makes room, and none of it is asked for again.
    size = max(1, ground.extent.blob)
    count = cache.total_bytes // size + 2
    samples = [ground.sample(f"full/{number}", size) for number in range(count)]
    result = ground.put(samples, blob=size)
    took = format_duration(result.seconds)
    return f"{seen}; then {format_size(result.bytes)} went through {format_size(cache.total_bytes)} of cache in {took}"


def _fillable_cache(ground: Ground) -> CacheFilesystem:
    try:
        (cache, *_) = ground.client.get_cache_state()
    except (ForbiddenError, NotFoundError, ValueError) as error:
        raise NotApplicableError("the size of the cache is not told to this user") from error
    if cache.total_bytes > ground.extent.fillable:
        what = f"its cache of {format_size(cache.total_bytes)} is larger than a run may fill"
        raise NotApplicableError(f"{what}, {format_size(ground.extent.fillable)}")
    return cache


def _fill(ground: Ground, cache: CacheFilesystem) -> str:
    """Have room set aside for all that a cache of this size takes, and see how those are told who come then."""
    client, bucket, blob = ground.client, ground.bucket, ground.extent.blob
    count = 2 * cache.total_bytes // blob + 1
    samples = [ground.sample(f"filling/{number}", blob) for number in range(count)]
    job = client.create_put_job(bucket, [ObjectToPut(one.key, one.size) for one in samples], max_upload_size=blob)
    ground.note_job(job.job.id)
    try:
        offered = _offered(ground, job)
        waiting = [chunk for chunk in job.chunks if chunk.id not in offered]
        if not waiting:
            raise UnexpectedError(f"all {len(offered)} chunks of {format_size(count * blob)} were offered room")
        # Where a chunk of that size finds no room, an object by itself finds none either.
        alone = ground.sample("no room", sum(one.length for one in waiting[0].blobs))

        def put() -> object:
            with ground.client_with() as impatient:
                return impatient.put_object(bucket, alone.key, SampleBody(alone, 0, alone.size))

        refusal = _turned_away(put)
        allocated = client.allocate_chunk(waiting[0].id)
        if allocated.chunk is not None:
            raise UnexpectedError("a chunk was given room in a full cache")
    finally:
        client.cancel_job(job.job.id)
    waits = "" if allocated.retry_after is None else f", Retry-After {allocated.retry_after.total_seconds():g} s"
    found = f"{len(offered)} of {len(job.chunks)} chunks found room"
    return f"{found}, the next is told to wait{waits}, a put alone is {refusal}"


def _offered(ground: Ground, job: JobDetails) -> set[str]:
    """Return the ids of the chunks of a put that are offered before the appliance offers no more."""
    chunks: set[str] = set()
    while True:
        ready = ground.client.get_ready_chunks(job.job.id, preferred_number=len(job.chunks))
        new = {chunk.id for chunk in ready.chunks} - chunks
        if not new:
            return chunks
        chunks |= new


def _turned_away(act: Callable[[], object]) -> str:
    try:
        act()
    except (BusyError, RetryLaterError) as error:
        return f"{error.status}"
    raise UnexpectedError("an object was put alone into a full cache")
