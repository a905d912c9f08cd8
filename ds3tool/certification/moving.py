"""Cases of bytes that go in and come back."""

from __future__ import annotations

import random

from ds3tool.certification.ground import MIB, Ground, read
from ds3tool.certification.samples import Sample
from ds3tool.certification.sheet import UnexpectedError
from ds3tool.protocol.model import ObjectToGet
from ds3tool.protocol.ranges import ByteRange
from ds3tool.sizes import format_size
from ds3tool.transport.bodies import BytesBody

# Letters that URLs, XML, signatures or file systems treat in ways of their own.
ODD_NAMES = (
    *("plus+plus", "two  blanks", "percent%2Fslash", "100%", "amp&ersand", "<angle>", "question?mark", "hash#mark"),
    *("equals=sign", "semi;colon", "quote'd", 'double"quoted"', "back\\slash", "tilde~", "star*", "comma,comma"),
    *("é as one letter", "e\u0301 as two", "日本語", "😀", ".hidden", "trailing.", "a" * 200),
)
_WORDS = {
    "plain": "a few words",
    "unicode": "Größe in µm, 日本語, 😀",
    "marks": "a+b=c & 50% <of> \"it\"; 'all', of it",
    "ds3-created": "2024-01-02T03:04:05Z",
    "long": "x" * 1000,
}


def large_object(ground: Ground) -> str:
    """Put one object in blobs, get it back, and compare every byte."""
    extent = ground.extent
    sample = ground.sample("large object", extent.large)
    result = ground.put([sample], blob=extent.blob)
    blobs = len(ground.client.head_object(ground.bucket, sample.key).checksums)
    wanted = -(-extent.large // extent.blob)
    if blobs and blobs < min(wanted, 2):
        raise UnexpectedError(
            f"the appliance has made {blobs} blob of it, where at most {extent.blob} bytes were asked"
        )
    compared = ground.get([sample])
    if compared < extent.large:  # more, where a blob was fetched twice
        raise UnexpectedError(f"{compared:,} of {extent.large:,} bytes came back")
    shown = f"{blobs} blobs" if blobs else "blobs of which no digests are told"
    return f"{format_size(result.bytes)} in {shown} came back the same"


def mixed_samples(ground: Ground) -> list[Sample]:
    """Return the mixed objects: odd names, folders, empty ones, and sizes up to a tenth of the large object's."""
    extent = ground.extent
    chance = random.Random(extent.seed)  # noqa: S311 - sample data, not secrets
    largest = max(1, min(extent.large // 10, extent.large * 10 // extent.objects))
    samples = []
    for number in range(extent.objects):
        odd = ODD_NAMES[number % len(ODD_NAMES)]
        folder = f"mixed/group {number % 7}/{ODD_NAMES[number * 5 % len(ODD_NAMES)][:40]}"
        if number % 100 == 99:
            samples.append(ground.sample(f"{folder}/{number} folder/", 0))
            continue
        size = 0 if number % 50 == 0 else largest if number == 1 else int(largest ** chance.random())
        samples.append(ground.sample(f"{folder}/{number}-{odd}", size))
    return samples


def mixed_objects(ground: Ground) -> str:
    """Put many objects in planned jobs, list them, and get all of them back."""
    samples = mixed_samples(ground)
    ground.put(samples, blob=ground.extent.blob)
    listed = {one.key: one.size for one in ground.client.list_objects(ground.bucket, prefix=f"{ground.prefix}mixed/")}
    wrong = sorted(sample.key for sample in samples if listed.get(sample.key) != sample.size)
    if wrong or len(listed) != len(samples):
        first = f", the first that is not as it was put is {wrong[0]!r}" if wrong else ""
        raise UnexpectedError(f"{len(listed):,} of {len(samples):,} are listed{first}")
    compared = ground.get(samples)
    empty = sum(not sample.size for sample in samples)
    return f"{len(samples):,} objects ({empty} of them empty), {format_size(compared)}, came back the same"


def part(ground: Ground) -> str:
    """Get a range that begins in one blob and ends in the next, through a job of nothing else."""
    client, blob = ground.client, ground.extent.blob
    sample = ground.sample("part", blob + blob // 2)
    ground.put([sample], blob=blob)
    wanted = ByteRange(blob - min(1000, blob), blob + min(1000, blob // 2))
    job = client.create_get_job(ground.bucket, [ObjectToGet(sample.key, wanted.start, wanted.length)])
    ground.note_job(job.job.id)
    came: dict[int, bytes] = {}
    for key, offset, length in ground.blobs_of(job):
        start, end = max(wanted.start, offset), min(wanted.end, offset + length)
        if start >= end:
            raise UnexpectedError(f"the job has a blob at {offset:,}, which holds nothing of what was asked for")
        here = ByteRange(start, end)
        came[start] = client.get_object(ground.bucket, key, read, job_id=job.job.id, offset=offset, ranges=[here])
    whole = b"".join(came[start] for start in sorted(came))
    if len(whole) != wanted.length:
        raise UnexpectedError(f"{len(whole):,} bytes came, and {wanted.length:,} were asked for")
    sample.check(wanted.start, whole)
    return f"{wanted.length:,} bytes of {len(came)} blobs came, and no more"


def metadata(ground: Ground) -> str:
    """Store words with an object by itself, and with one of several blobs, and read them again."""
    client, bucket = ground.client, ground.bucket
    alone = ground.sample("metadata alone", 10)
    body = BytesBody(alone.read(0, alone.size))
    client.put_object(bucket, alone.key, body, metadata=_WORDS, checksum=ground.digest(alone))
    in_job = ground.sample("metadata of blobs", ground.extent.blob + min(MIB, ground.extent.blob))
    ground.put([in_job], blob=ground.extent.blob, words=_WORDS)
    for sample in (alone, in_job):
        found = client.head_object(bucket, sample.key).metadata
        wrong = sorted(name for name, value in _WORDS.items() if found.get(name) != value)
        if wrong:
            name = wrong[0]
            raise UnexpectedError(f"{sample.key}: {name} came back as {found.get(name)!r}, put as {_WORDS[name]!r}")
    return f"{len(_WORDS)} words came back the same, with one blob and with two"
