"""Addresses that people type: `ds3://bucket/key`, `s3://bucket/key`, `lotame://FEED`, a path, `-`; a leaf."""

from __future__ import annotations

import re

from ds3tool.errors import UsageError
from ds3tool.lazy_dataclass import dataclass

# Bucket names as the appliance takes them. Source: protocol, PUT bucket.
_BUCKET = r"[A-Za-z0-9.\-_]{1,63}"
# Bucket names of S3 and of what speaks like it; access points by their ARN are S3's own matter.
_S3_BUCKET = r"[A-Za-z0-9.\-_:]{1,255}"
_FEED = r"all|[0-9]{1,18}"
_SCHEME = r"([A-Za-z][A-Za-z0-9+.\-]*)://"
# A scheme of ours without its slashes: rather a slip than a file, and a `get` would make a folder of that name.
_NO_SLASHES = r"(?i)(ds3|s3|lotame):/*"
_FORMS = {"ds3": "BUCKET/KEY", "s3": "BUCKET/KEY", "lotame": "FEED"}


@dataclass(frozen=True, slots=True)
class Ds3Address:
    """A bucket and, below it, a key or a prefix; an empty `key` is the bucket itself.

    A trailing slash makes it a prefix; without one it names one key.
    """

    bucket: str
    key: str = ""

    @property
    def is_prefix(self) -> bool:
        """Whether this names everything below, rather than one key."""
        return not self.key or self.key.endswith("/")

    def as_prefix(self) -> Ds3Address:
        """Return the address read as ending in a slash: what `-r` means."""
        return self if self.is_prefix else Ds3Address(self.bucket, self.key + "/")

    def __str__(self) -> str:
        return f"ds3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class S3Address:
    """A bucket of S3 and, below it, a key or a prefix, read as a `Ds3Address` is."""

    bucket: str
    key: str = ""

    @property
    def is_prefix(self) -> bool:
        """Whether this names everything below, rather than one key."""
        return not self.key or self.key.endswith("/")

    def as_prefix(self) -> S3Address:
        """Return the address read as ending in a slash: what `-r` means."""
        return self if self.is_prefix else S3Address(self.bucket, self.key + "/")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class LotameAddress:
    """A feed of Lotame's DataStream by its number; None means all of them."""

    feed: int | None = None

    def __str__(self) -> str:
        return f"lotame://{'all' if self.feed is None else self.feed}"


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """A path of this host's file system, as typed."""

    path: str

    def __str__(self) -> str:
        return self.path


Address = Ds3Address | S3Address | LotameAddress | LocalAddress


def parse_address(text: str) -> Address:
    """Return the address that `text` means.

    Raises UsageError for an unknown scheme, a bucket name the appliance would refuse, or an empty text.
    """
    if not text:
        raise UsageError("an empty address names nothing", hint="give a path or ds3://BUCKET/KEY")
    scheme = re.match(_SCHEME, text)
    if scheme is None and (slip := re.match(_NO_SLASHES, text)) is not None:
        meant, rest = slip[1].lower(), text[slip.end() :]
        raise UsageError(
            f"{text!r} lacks slashes for an address",
            hint=f"write {meant}://{rest or _FORMS[meant]}, or for a path ./{text}",
        )
    if scheme is None:
        return LocalAddress(text)
    kind, rest = scheme[1].lower(), text[scheme.end() :]
    if kind == "lotame":
        return _lotame(rest.rstrip("/"))
    if kind not in {"ds3", "s3"}:
        raise UsageError(
            f"{scheme[1]}:// is not an address this command knows",
            hint="use ds3://BUCKET/KEY, s3://BUCKET/KEY, lotame://FEED or a path",
        )
    bucket, _, key = rest.partition("/")
    if not re.fullmatch(_BUCKET if kind == "ds3" else _S3_BUCKET, bucket):
        raise UsageError(
            f"{bucket!r} is not a bucket name",
            hint=f"1 to 63 letters, digits, dots, dashes and underscores, as in {kind}://archive/2024/",
        )
    return Ds3Address(bucket, key) if kind == "ds3" else S3Address(bucket, key)


def _lotame(feed: str) -> LotameAddress:
    if not re.fullmatch(_FEED, feed):
        raise UsageError(
            f"{feed!r} is not the number of a feed", hint="write lotame://all, or see: ds3tool lotame feeds"
        )
    return LotameAddress(None if feed == "all" else int(feed))


def parse_s3(text: str) -> S3Address:
    """Return `text` as an address in S3; raises UsageError for what is none."""
    address = parse_address(text)
    if isinstance(address, Ds3Address):
        raise UsageError(
            f"{address} is on the appliance, and not in S3",
            hint="write s3://BUCKET/KEY; the appliance has commands without s3",
        )
    if not isinstance(address, S3Address):
        raise UsageError(f"{text!r} is not in S3", hint="write s3://BUCKET/KEY")
    return address


def parse_ds3(text: str) -> Ds3Address:
    """Return `text` as an appliance address; `bucket` alone, without the scheme, is not one."""
    address = parse_address(text)
    if isinstance(address, S3Address):
        raise UsageError(
            f"{address} is in S3, and not on the appliance",
            hint=f"to tape: ds3tool put {address} ds3://BUCKET/; back: ds3tool get ds3://BUCKET/ {address}; "
            "inside of S3: ds3tool s3 cp",
        )
    if isinstance(address, LotameAddress):
        raise UsageError(
            f"{address} is Lotame's, and not on the appliance", hint=f"ds3tool put {address} ds3://BUCKET/"
        )
    if not isinstance(address, Ds3Address):
        raise UsageError(f"{text!r} is not on the appliance", hint=f"write ds3://{text.lstrip('/') or 'BUCKET'}")
    return address


def parse_bucket(text: str) -> str:
    """Return the bucket of `ds3://bucket`, `ds3://bucket/` or plain `bucket`; a key in it is an error."""
    address = parse_ds3(text if "://" in text else f"ds3://{text}")
    if address.key:
        raise UsageError(f"{text!r} names a key, where a bucket is meant", hint=f"write ds3://{address.bucket}")
    return address.bucket
