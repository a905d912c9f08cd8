"""A page of a bucket's listing: its objects, by the thousand, and what it says of itself."""

from __future__ import annotations

from datetime import datetime

from ds3tool.errors import ProtocolError
from ds3tool.protocol.item_runs import Columns, ItemRuns
from ds3tool.protocol.messages import Response
from ds3tool.protocol.model import ListedObject, ListingPage, Owner
from ds3tool.protocol.scalars import as_boolean, as_date, as_etag, as_integer, as_size, required
from ds3tool.protocol.xmlcodec import PAGE_BYTES, Element, ItemReader

# A size of so many digits may be one that no number of 64 bits can be: it is looked at by itself.
_MOST_DIGITS = 18


def owner_of(parent: Element) -> Owner | None:
    """Return the owner that an element tells of, None when it tells of none."""
    element = parent.child("Owner")
    if element is None:
        return None
    return Owner(element.value("ID") or "", element.value("DisplayName") or "")


def listing(response: Response) -> ListingPage:
    """Parse one page of GET bucket, of objects or of versions."""
    objects: list[ListedObject] = []
    prefixes: list[str] = []
    texts: dict[str, str] = {}
    owners: dict[Owner, Owner] = {}

    def item(element: Element) -> None:
        if element.name in {"Contents", "Version"}:
            objects.append(_listed_object(element, owners))
        elif element.name == "CommonPrefixes":
            prefixes.extend(one.text for one in element.all("Prefix") if one.text)
        elif not element.children:
            texts[element.name] = element.text

    reader = ItemReader(item, what="the listing", root=("ListBucketResult", "ListVersionsResult"), max_bytes=PAGE_BYTES)
    runs = ItemRuns(reader, "Contents", lambda columns, count: _add_run(objects, columns, count, owners))
    reader.read(response.body, runs.feed)
    truncated = as_boolean(texts.get("IsTruncated"), "IsTruncated of the listing") or False
    next_marker = texts.get("NextMarker", "")
    if truncated and not next_marker:
        # AWS leaves it out where there is no delimiter; the last name of the page is where to go on.
        last = [*(one.key for one in objects[-1:]), *prefixes[-1:]]
        next_marker = max(last, key=lambda name: name.encode(), default="")
    return ListingPage(
        bucket=texts.get("Name", ""),
        prefix=texts.get("Prefix", ""),
        delimiter=texts.get("Delimiter", ""),
        marker=texts.get("Marker", ""),
        next_marker=next_marker,
        truncated=truncated,
        max_keys=as_size(texts.get("MaxKeys"), "MaxKeys of the listing"),
        objects=tuple(objects),
        prefixes=tuple(prefixes),
    )


def _listed_object(element: Element, owners: dict[Owner, Owner]) -> ListedObject:
    values = {one.name: one.text for one in reversed(element.children)}
    key = required(values.get("Key"), "the key of an object in the listing")
    modified = as_date(values.get("LastModified"), f"the date of {key!a}")
    size = as_integer(values.get("Size"), f"the size of {key!a}")
    if size is None and modified is not None:
        raise ProtocolError(f"the size of {key!a} is missing in the listing")
    owner = owner_of(element)
    return ListedObject(
        key=key,
        size=as_size(values.get("Size"), f"the size of {key!a}"),
        last_modified=modified,
        etag=as_etag(values.get("ETag")),
        version_id=values.get("VersionId") or None,
        is_latest=as_boolean(values.get("IsLatest"), f"IsLatest of {key!a}"),
        owner=None if owner is None else owners.setdefault(owner, owner),
    )


def _add_run(objects: list[ListedObject], columns: Columns, count: int, owners: dict[Owner, Owner]) -> bool:
    """Add objects whose texts these are; return False where something about them may have to be refused."""
    keys, sizes, dates = columns.get("Key"), columns.get("Size"), columns.get("LastModified")
    if keys is None or sizes is None or "" in keys or "" in sizes:
        return False
    digits = "".join(sizes)
    if not (digits.isascii() and digits.isdigit()) or max(map(len, sizes)) > _MOST_DIGITS:
        return False
    nothing = [""] * count
    etags, versions = columns.get("ETag", nothing), columns.get("VersionId", nothing)
    latest = columns.get("IsLatest", nothing)
    moments: dict[str, datetime | None] = {}
    truths: dict[str, bool | None] = {}
    try:
        for text in dates or nothing:
            if text not in moments:
                moments[text] = as_date(text, "a date")
        for text in set(latest):
            truths[text] = as_boolean(text, "a truth")
    except ProtocolError:
        return False
    objects += map(
        ListedObject,
        keys,
        map(int, sizes),
        map(moments.__getitem__, dates or nothing),
        map(as_etag, etags),
        [version or None for version in versions],
        map(truths.__getitem__, latest),
        _owners(columns, count, owners),
    )
    return True


def _owners(columns: Columns, count: int, owners: dict[Owner, Owner]) -> list[Owner | None]:
    """Return the owner of each; the same ones once only."""
    if not any(name == "Owner" or name.startswith("Owner/") for name in columns):
        return [None] * count
    nothing = [""] * count
    found: dict[tuple[str, str], Owner] = {}
    pairs = list(zip(columns.get("Owner/ID", nothing), columns.get("Owner/DisplayName", nothing), strict=True))
    for pair in set(pairs):
        owner = Owner(*pair)
        found[pair] = owners.setdefault(owner, owner)
    return [found[pair] for pair in pairs]
