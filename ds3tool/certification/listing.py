"""Cases of listings: pages, delimiters, versions, and what is deleted and brought back."""

from __future__ import annotations

from ds3tool.certification.ground import Ground, read
from ds3tool.certification.sheet import NotApplicableError, UnexpectedError
from ds3tool.protocol.model import Versioning

_PAGE = 10
_KEYS = 35


def paging(ground: Ground) -> str:
    """List more keys than a page has room for, and hold them against what was put."""
    samples = [ground.sample(f"pages/{number:03d}", number) for number in range(_KEYS)]
    ground.put(samples)
    pages = list(ground.client.listing_pages(ground.bucket, prefix=f"{ground.prefix}pages/", page_size=_PAGE))
    found = [(one.key, one.size) for page in pages for one in page.objects]
    largest = max(len(page.objects) for page in pages)
    if largest > _PAGE:
        raise UnexpectedError(f"a page holds {largest} keys, and at most {_PAGE} were asked for")
    if found != sorted(found):
        raise UnexpectedError("keys are not in the order of their letters")
    if found != [(sample.key, sample.size) for sample in samples]:
        missing = {sample.key for sample in samples} - {key for key, _ in found}
        what = f"{len(missing)} are missing" if missing else "some came twice, or with another size"
        raise UnexpectedError(f"{len(found)} keys came of {len(samples)}: {what}")
    return f"{len(found)} keys in {len(pages)} pages of at most {_PAGE}, in order"


def delimiter(ground: Ground) -> str:
    """List one level of a small tree."""
    below = f"{ground.prefix}tree/"
    names = ("a/1", "a/2", "b/c/3", "z", "é/4")
    ground.put([ground.sample(f"tree/{name}", 5) for name in names])
    pages = list(ground.client.listing_pages(ground.bucket, prefix=below, delimiter="/"))
    prefixes = [prefix.removeprefix(below) for page in pages for prefix in page.prefixes]
    keys = [one.key.removeprefix(below) for page in pages for one in page.objects]
    if (prefixes, keys) != (["a/", "b/", "é/"], ["z"]):
        raise UnexpectedError(f"prefixes {prefixes} and keys {keys}, expected a/, b/ and é/, and z")
    return "three prefixes and one key, as the tree is"


def versions(ground: Ground) -> str:
    """Put one name three times, list its versions, and read the oldest."""
    _need_versions(ground)
    client, bucket, key = ground.client, ground.bucket, f"{ground.prefix}versions"
    samples = [ground.sample("versions", size) for size in (100, 200, 300)]
    for sample in samples:
        ground.put_alone(sample)
    bodies = [sample.read(0, sample.size) for sample in samples]
    found = list(client.list_objects(bucket, prefix=key, versions=True))
    latest = [one for one in found if one.is_latest]
    if len(latest) != 1 or not _versions_kept(ground, len(bodies)) <= len(found) <= len(bodies):
        raise UnexpectedError(f"{len(found)} versions are listed, {len(latest)} of them as the latest")
    if client.get_object(bucket, key, read) != bodies[-1]:
        raise UnexpectedError("without a version, it is not the last one put that comes")
    read_back = {
        client.get_object(bucket, key, read, version_id=one.version_id) for one in found if one.version_id is not None
    }
    if len(found) > 1 and not read_back <= set(bodies):
        raise UnexpectedError("a version that is listed has other bytes than any that was put")
    if len(read_back) != len(found):
        raise UnexpectedError(f"{len(found)} versions are listed, and {len(read_back)} different ones came")
    return f"{len(found)} versions are listed, one as the latest, and each came by its id"


def undelete(ground: Ground) -> str:
    """Delete an object, see that it is gone, and bring it back."""
    _need_versions(ground)
    client, bucket = ground.client, ground.bucket
    sample = ground.sample("undelete", 100)
    ground.put_alone(sample)
    client.delete_object(bucket, sample.key)
    if ground.exists(sample):
        raise UnexpectedError("it is still there after it was deleted")
    if list(client.list_objects(bucket, prefix=sample.key)):
        raise UnexpectedError("it is still listed after it was deleted")
    client.undelete_object(bucket, sample.key)
    sample.check(0, client.get_object(bucket, sample.key, read))
    return "404 and not listed after the delete; the same bytes after undelete"


def _versions_kept(ground: Ground, count: int) -> int:
    """Return how many of so many versions the policy keeps at least: of KEEP_LATEST the older ones may be gone."""
    policy = ground.policy
    if policy.versioning is not Versioning.KEEP_MULTIPLE_VERSIONS:
        return 1
    return min(count, policy.max_versions_to_keep or count)


def _need_versions(ground: Ground) -> None:
    if not ground.keeps_versions:
        raise NotApplicableError(f"the data policy {ground.policy.name!r} keeps no versions")
