"""Reading Lotame's answers: feeds and updates from JSON, and what of an answer may be archived.

Every field is held against its type; what is not as it should be is a ProtocolError that names the field, never a
secret. Source of the shapes: the cookbook's downloader and its tests. Fields that nobody needs may be anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from ds3tool.errors import ProtocolError
from ds3tool.lotame.model import (
    Feed,
    FeedUpdates,
    Location,
    S3Credentials,
    S3Location,
    Updates,
    WebLocation,
    bare_address,
)

# The name of the key differs by its case between the two calls.
_MAPPING_KEYS = ("metaDataFile", "metadataFile")
_CREDENTIALS = "s3creds"
_S3 = re.compile(r"s3[an]?://([^/?#]+)(?:/(.*))?", re.IGNORECASE | re.DOTALL)
# Of a key's name: what tells that its value is nobody's business.
_SECRET_NAMES = re.compile(
    r"cred|secret|token|passw|accesskey|access_key|access-key|apikey|api_key|signature|authorization|^access$",
    re.IGNORECASE,
)
_SHORTEST_SECRET = 12
_REMOVED = "(removed)"
_HINT = "has Lotame's API changed? `-v` tells more; tell the people who keep ds3tool"
Json = Any  # what `json` makes: each use below looks at its type first


def read_feeds(answer: Json) -> tuple[Feed, ...]:
    """Return the feeds of an answer; ProtocolError where it is none, or two have one number."""
    feeds = tuple(_feed(one, f"feeds[{place}]") for place, one in enumerate(_feeds(answer)))
    _check_once([feed.id for feed in feeds])
    return feeds


def read_updates(answer: Json, *, since: datetime | None, at: datetime, obtained: datetime) -> Updates:
    """Return what an answer to a question for updates says.

    `obtained` is when it came by this host's clock, which the credentials' life is counted from. Raises ProtocolError
    where it is no such answer, where a feed has files and no location, and where there are files and no credentials.
    """
    feeds = tuple(_updates(one, f"feeds[{place}]") for place, one in enumerate(_feeds(answer)))
    _check_once([feed.feed_id for feed in feeds])
    told = answer.get(_CREDENTIALS)
    credentials = None if told is None else _credentials(told, obtained)
    if credentials is None and any(feed.files for feed in feeds):
        raise _wrong(f"{_CREDENTIALS} is not there, though there are files")
    return Updates(feeds, since, at, record_of(answer), credentials)


def record_of(answer: Json) -> bytes:
    """Return an answer as canonical JSON (sorted keys, no blanks, UTF-8, a newline) without anything secret."""
    secrets = frozenset(_secrets(answer, inside=False))
    text = json.dumps(_cleaned(answer, secrets), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"


def location(text: str) -> Location | None:
    """Return the place that a text names; None for one that is neither in S3 nor on the web.

    Bucket names may hold dots, and prefixes whatever they like: everything up to the first slash is the bucket, and
    everything behind it the key.
    """
    if (found := _S3.fullmatch(text)) is not None:
        return S3Location(found[1], found[2] or "")
    try:
        is_web = text.lower().startswith(("http://", "https://")) and bool(urlsplit(text).hostname)
    except ValueError:  # brackets that do not close, say
        return None
    return WebLocation(text) if is_web else None


# -- parts of an answer -----------------------------------------------------------------------------------------------


def _feeds(answer: Json) -> list[Json]:
    if not isinstance(answer, dict):
        raise _wrong("it is no JSON object")
    if "feeds" not in answer:
        words = _said(answer)
        raise _wrong("it has no `feeds`" + (f"; it says: {words}" if words else ""))
    feeds = answer["feeds"]
    if not isinstance(feeds, list):
        raise _wrong(f"`feeds` is {_kind(feeds)}, not a list")
    return feeds


def _feed(one: Json, place: str) -> Feed:
    fields = _object(one, place)
    return Feed(
        _number(fields, "id", place),
        _number(fields, "clientId", place) if fields.get("clientId") is not None else None,
        _text(fields, "type", place),
        _text(fields, "profileType", place),
        _mapping(fields, place),
    )


def _updates(one: Json, place: str) -> FeedUpdates:
    fields = _object(one, place)
    feed_id = _number(fields, "id", place)
    files = fields.get("files")
    if not isinstance(files, list):
        raise _wrong(f"{place}.files is {_kind(files)}, not a list")
    for number, name in enumerate(files):
        if not isinstance(name, str) or not name.strip("/"):
            raise _wrong(f"{place}.files[{number}] is {_kind(name)}, not the name of a file")
    told = _text(fields, "location", place)
    where = None if told is None else location(told)
    if told is not None and not isinstance(where, S3Location):
        raise _wrong(f"{place}.location is not a place in S3")
    if files and where is None:
        raise _wrong(f"{place} (feed {feed_id}) has files and no location")
    assert where is None or isinstance(where, S3Location)
    return FeedUpdates(feed_id, where, tuple(dict.fromkeys(files)), _mapping(fields, place))


def _mapping(fields: Mapping[str, Json], place: str) -> Location | None:
    for key in _MAPPING_KEYS:
        told = _text(fields, key, place)
        if told:
            where = location(told)
            if where is None:
                raise _wrong(f"{place}.{key} is a place neither in S3 nor on the web")
            return where
    return None


def _credentials(told: Json, obtained: datetime) -> S3Credentials:
    fields = _object(told, _CREDENTIALS)
    parts = [fields.get(name) for name in ("accessKeyId", "secretAccessKey", "sessionToken")]
    if not all(isinstance(part, str) and part for part in parts):
        raise _wrong(f"{_CREDENTIALS} lacks a part, or has one that is no text")
    milliseconds = fields.get("expiration")
    if isinstance(milliseconds, str) and milliseconds.isascii() and milliseconds.isdigit() and len(milliseconds) < 19:
        milliseconds = int(milliseconds)
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        raise _wrong(f"{_CREDENTIALS}.expiration is {_kind(milliseconds)}, not milliseconds since 1970")
    try:
        expires = datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise _wrong(f"{_CREDENTIALS}.expiration is no moment in milliseconds since 1970") from None
    key_id, secret, session = map(str, parts)
    return S3Credentials(key_id, secret, session, expires, obtained)


# -- fields -----------------------------------------------------------------------------------------------------------


def _object(one: Json, place: str) -> Mapping[str, Json]:
    if not isinstance(one, dict):
        raise _wrong(f"{place} is {_kind(one)}, not an object")
    return one


def _number(fields: Mapping[str, Json], key: str, place: str) -> int:
    value = fields.get(key)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise _wrong(f"{place}.{key} is {_kind(value)}, not a number")
    return value


def _text(fields: Mapping[str, Json], key: str, place: str) -> str | None:
    value = fields.get(key)
    if value is not None and not isinstance(value, str):
        raise _wrong(f"{place}.{key} is {_kind(value)}, not a text")
    return value or None


def _check_once(numbers: list[int]) -> None:
    twice = {number for number in numbers if numbers.count(number) > 1}
    if twice:
        raise _wrong(f"feed {min(twice)} is in it twice")


def _kind(value: Json) -> str:
    kinds: tuple[tuple[type, str], ...] = (
        (type(None), "nothing"),
        (bool, "true or false"),
        (int, "a number"),
        (float, "a fraction"),
        (str, "a text"),
        (list, "a list"),
        (dict, "an object"),
    )
    return next((word for kind, word in kinds if isinstance(value, kind)), "something else")


def _said(answer: Mapping[str, Json]) -> str | None:
    return next(
        (str(answer[key])[:200] for key in ("message", "error", "errorMessage") if isinstance(answer.get(key), str)),
        None,
    )


def _wrong(what: str) -> ProtocolError:
    return ProtocolError(f"Lotame's answer is not what it should be: {what}", hint=_HINT)


# -- what may be kept -------------------------------------------------------------------------------------------------


def _secrets(value: Json, *, inside: bool) -> Iterator[str]:
    """Yield the texts of keys that sound like secrets, where they are too long to stand elsewhere by chance."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _secrets(part, inside=bool(_SECRET_NAMES.search(key)))
    elif isinstance(value, list):
        for part in value:
            yield from _secrets(part, inside=inside)
    elif inside and isinstance(value, str) and len(value) >= _SHORTEST_SECRET:
        yield value


def _cleaned(value: Json, secrets: Collection[str]) -> Json:
    """Return JSON without what sounds like a secret, and without what stood there wherever else it stands."""
    if isinstance(value, dict):
        return {key: _cleaned(part, secrets) for key, part in value.items() if not _SECRET_NAMES.search(key)}
    if isinstance(value, list):
        return [_cleaned(part, secrets) for part in value]
    if isinstance(value, str):
        if any(secret in value for secret in secrets):
            return _REMOVED
        if value.lower().startswith(("http://", "https://")):
            return bare_address(value)
    return value
