"""A page of a bucket's listing: its objects, by the thousand, and what it says of itself."""

from __future__ import annotations

from datetime import datetime

from ds3tool.errors import ProtocolError
from ds3tool.protocol.item_runs import Columns, ItemRuns
from ds3tool.protocol.listed_columns import ListedColumns
from ds3tool.protocol.messages import Response
from ds3tool.protocol.model import ListingPage, Owner
from ds3tool.protocol.scalars import as_boolean, as_date, as_integer, as_size, required
from ds3tool.protocol.xmlcodec import PAGE_BYTES, Element, ItemReader

# A size of so many digits may be one that no number of 64 bits can be: it is looked at by itself.
_MOST_DIGITS = 18
# How the appliance writes a date, any digit as this one.
_ONE_DATE = "9999-99-99T99:99:99.999Z"
_DIGITS = str.maketrans(dict.fromkeys("0123456789", "9"))


def owner_of(parent: Element) -> Owner | None:
    """Return the owner that an element tells of, None when it tells of none."""
    element = parent.child("Owner")
    if element is None:
        return None
    return Owner(element.value("ID") or "", element.value("DisplayName") or "")


def listing(response: Response) -> ListingPage:
    """Parse one page of GET bucket, of objects or of versions."""
    objects = ListedColumns()
    prefixes: list[str] = []
    texts: dict[str, str] = {}
    owners: dict[Owner, Owner] = {}

    def item(element: Element) -> None:
        if element.name in {"Contents", "Version"}:
            _add_object(objects, element, owners)
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
        last = [*objects.keys[-1:], *prefixes[-1:]]
        next_marker = max(last, key=lambda name: name.encode(), default="")
    return ListingPage(
        bucket=texts.get("Name", ""),
        prefix=texts.get("Prefix", ""),
        delimiter=texts.get("Delimiter", ""),
        marker=texts.get("Marker", ""),
        next_marker=next_marker,
        truncated=truncated,
        max_keys=as_size(texts.get("MaxKeys"), "MaxKeys of the listing"),
        objects=objects,
        prefixes=tuple(prefixes),
    )


def _add_object(objects: ListedColumns, element: Element, owners: dict[Owner, Owner]) -> None:
    """Add what one element tells of; ProtocolError where it tells no object."""
    values = {one.name: one.text for one in reversed(element.children)}
    key = required(values.get("Key"), "the key of an object in the listing")
    modified = as_date(values.get("LastModified"), f"the date of {key!a}")
    size = as_integer(values.get("Size"), f"the size of {key!a}")
    if size is None and modified is not None:
        raise ProtocolError(f"the size of {key!a} is missing in the listing")
    owner = owner_of(element)
    objects.extend(
        (key,),
        (as_size(values.get("Size"), f"the size of {key!a}"),),
        last_modified=(modified,),
        etags=(values.get("ETag") or "",),
        version_ids=(values.get("VersionId") or "",),
        latest=(as_boolean(values.get("IsLatest"), f"IsLatest of {key!a}"),),
        owners=(None if owner is None else owners.setdefault(owner, owner),),
    )


def _add_run(objects: ListedColumns, columns: Columns, count: int, owners: dict[Owner, Owner]) -> bool:
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
    truths: dict[str, bool | None] = {}
    try:
        moments = _moments(dates or nothing)
        for text in set(latest):
            truths[text] = as_boolean(text, "a truth")
    except ProtocolError:
        return False
    all_latest = [truths[latest[0]]] * count if len(truths) == 1 else map(truths.__getitem__, latest)
    objects.extend(
        keys,
        map(int, sizes),
        last_modified=moments,
        etags=etags,
        version_ids=versions,
        latest=all_latest,
        owners=_owners(columns, count, owners),
    )
    return True


def _moments(texts: list[str]) -> list[datetime | None]:
    """Return the times that texts mean; ProtocolError for one that is none."""
    if texts.count(texts[0]) == len(texts):
        return [as_date(texts[0], "a date")] * len(texts)
    # Python reads what is written in this form as `as_date` does, in a tenth of the time.
    written = "".join(texts)
    is_like = set(map(len, texts)) == {len(_ONE_DATE)} and written.translate(_DIGITS) == _ONE_DATE * len(texts)
    if is_like and "T24" not in written:
        try:
            return list(map(datetime.fromisoformat, texts))
        except ValueError as error:
            raise ProtocolError("a date is none") from error
    known: dict[str, datetime | None] = {}
    for text in texts:
        if text not in known:
            known[text] = as_date(text, "a date")
    return list(map(known.__getitem__, texts))


def _owners(columns: Columns, count: int, owners: dict[Owner, Owner]) -> list[Owner | None]:
    """Return the owner of each; the same ones once only."""
    if not any(name == "Owner" or name.startswith("Owner/") for name in columns):
        return [None] * count
    nothing = [""] * count
    ids, called = columns.get("Owner/ID", nothing), columns.get("Owner/DisplayName", nothing)
    if ids.count(ids[0]) == called.count(called[0]) == count:
        owner = Owner(ids[0], called[0])
        return [owners.setdefault(owner, owner)] * count
    found: dict[tuple[str, str], Owner] = {}
    pairs = list(zip(ids, called, strict=True))
    for pair in set(pairs):
        owner = Owner(*pair)
        found[pair] = owners.setdefault(owner, owner)
    return [found[pair] for pair in pairs]
