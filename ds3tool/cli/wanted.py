"""What a get is asked for: the objects at an address, those of a list, what the options choose among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from ds3tool.cli.failures import NothingThereError
from ds3tool.cli.lookup import base_of, nanoseconds
from ds3tool.cli.selection import Selection, selected_objects, selected_pages
from ds3tool.errors import UsageError
from ds3tool.filters import Filter
from ds3tool.jobs.ends import Failure
from ds3tool.jobs.get_targets import Asked
from ds3tool.protocol.escaped import escape
from ds3tool.protocol.listed_columns import ListedColumns
from ds3tool.protocol.model import ListedObject

if TYPE_CHECKING:
    from ds3tool.client import Ds3Client

# Up to so many names are asked for one by one; for more it is cheaper to list everything once.
_ASKED_ONE_BY_ONE = 1000

Found = ListedObject | Failure


def wanted_objects(
    client: Ds3Client, selection: Selection, chosen: Filter, *, names: Iterable[bytes] | None = None
) -> Iterator[Asked]:
    """Yield what `selection` means and `chosen` accepts; with `names` only what has these names below the address.

    Where nothing is left out, that is by the page. A name that is not there is a Failure. NothingThereError when the
    address names nothing at all. The folder object of the prefix itself is the target folder, and left out.
    """
    base = base_of(selection)
    takes_all = chosen.is_empty
    found = _everything(client, selection) if names is None else _listed(client, selection, names)
    for page in found:
        if takes_all and isinstance(page, ListedColumns) and base not in page.keys:
            yield page
            continue
        for one in page:
            if isinstance(one, Failure):
                yield one
            elif one.key == base and not selection.whole:
                continue
            elif takes_all or _accepted(chosen, one, base):
                yield one


def _accepted(chosen: Filter, one: ListedObject, base: str) -> bool:
    modified = None if one.last_modified is None else nanoseconds(one.last_modified)
    return chosen.accepts(one.key[len(base) :], size=one.size, modified_ns=modified)


def _everything(client: Ds3Client, selection: Selection) -> Iterator[Sequence[ListedObject]]:
    pages = ([one] for one in selected_objects(client, selection)) if selection.whole else None
    found = False
    try:
        for page in pages or selected_pages(client, selection):
            found = True
            yield page
    except NothingThereError as error:
        raise NothingThereError(f"{selection} names no object", hint=error.hint) from error
    if not found:
        raise NothingThereError(f"{selection} names no object")


def check_listed(selection: Selection) -> None:
    """Raise UsageError when names of a list cannot be below an address."""
    if selection.whole or selection.pattern is not None:
        raise UsageError(
            f"the names in --files-from are below an address, and {selection} is none that anything is below",
            hint="give a bucket or a prefix that ends in a slash",
        )


def _listed(client: Ds3Client, selection: Selection, names: Iterable[bytes]) -> Iterator[Sequence[Found]]:
    """Yield the objects of these names, each once; in their order when they are few, else in the appliance's."""
    keys = dict.fromkeys(selection.prefix + escape(name) for name in names)
    if len(keys) <= _ASKED_ONE_BY_ONE:
        for key in keys:
            page = next(iter(client.listing_pages(selection.bucket, prefix=key, page_size=1)), None)
            first = page.objects[0] if page is not None and page.objects else None
            yield [first if first is not None and first.key == key else _missing(key)]
        return
    for one in client.list_objects(selection.bucket, prefix=selection.prefix):
        if one.key in keys:
            del keys[one.key]
            yield [one]
    yield list(map(_missing, keys))


def _missing(key: str) -> Failure:
    return Failure(key, NothingThereError(f"there is no object {key!r}"))
