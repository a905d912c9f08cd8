"""`ds3tool s3 cp`: copy inside S3 on the server's side; one object from this host into S3, or out of it."""

from __future__ import annotations

import mimetypes
import os
import posixpath
import stat
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import field
from typing import Annotated

import typer

from ds3tool.addresses import LocalAddress, S3Address, parse_address
from ds3tool.aws import s3_copies, s3_files, s3_objects
from ds3tool.aws.s3_objects import Client, S3Entry, S3Status
from ds3tool.cli import messages
from ds3tool.cli.aws_options import AwsOptions
from ds3tool.cli.failures import FAILURE_FIELDS, Failure, failures_of, judged
from ds3tool.cli.interruption import interruptible
from ds3tool.cli.lookup import base_of
from ds3tool.cli.output import Field, OutputFormat, counted, lost
from ds3tool.cli.part import check_version
from ds3tool.cli.s3_selection import check_key, missing, parse_s3_selection, refuse_ambiguous_pattern, selected_entries
from ds3tool.cli.selection import Selection
from ds3tool.cli.settings import Settings
from ds3tool.errors import (
    Ds3Error,
    FarSideDeniedError,
    FarSideError,
    FarSideNotFoundError,
    FarSideUnreachableError,
    InterruptedRunError,
    PathNotFoundError,
    SourceError,
    UsageError,
)
from ds3tool.lazy_dataclass import dataclass
from ds3tool.sizes import format_duration, format_size

EXAMPLES = (
    "ds3tool s3 cp s3://incoming/a.mxf s3://kept/2024/",
    "ds3tool s3 cp -r s3://incoming/2024/ s3://kept/2024/",
    "ds3tool s3 cp notes.txt s3://incoming/notes.txt",
    "ds3tool s3 cp s3://incoming/notes.txt .",
    "ds3tool s3 cp s3://incoming/list.gz - | zcat",
)

_AT_ONCE = 8
# Failures after which every other copy would fail in the same way.
_FOR_ALL = (FarSideDeniedError, FarSideUnreachableError)


@dataclass
class Copied:
    """What one run copied, and what it could not; `stopped` when it ended before it had tried everything."""

    objects: int = 0
    bytes: int = 0
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    stopped: Ds3Error | None = None


COPIED_FIELDS: list[Field[Copied]] = [
    Field("objects", lambda copied: copied.objects),
    Field("bytes", lambda copied: copied.bytes),
    Field("failed", lambda copied: failures_of(tuple(copied.failures))),
    Field("seconds", lambda copied: round(copied.seconds, 3)),
]


def copy(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="s3://BUCKET/KEY, a file, or - for stdin.")],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="s3://BUCKET/KEY, a file or a folder, or - for stdout.")
    ],
    *,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", metavar="", help="Everything below; from S3 to S3 only.")
    ] = False,
    raw: Annotated[
        bool, typer.Option("--raw", metavar="", help="Wildcards and a slash at the end stand for themselves.")
    ] = False,
    version_id: Annotated[
        str | None, typer.Option("--version-id", metavar="ID", help="This version of the source, not the latest.")
    ] = None,
    storage_class: Annotated[
        str | None, typer.Option("--storage-class", metavar="NAME", help="As STANDARD_IA or GLACIER; else STANDARD.")
    ] = None,
    content_type: Annotated[
        str | None, typer.Option("--content-type", metavar="TYPE", help="Of a file; else by its name's ending.")
    ] = None,
    aws: AwsOptions,
    settings: Settings,
) -> None:
    """Copy inside S3 on the server's side, or one object from this host into S3, or out of it.

    Inside S3 the metadata, headers and tags go with an object, and nothing passes through this host. A target that is
    there is replaced, and a file appears whole or not at all. For many files, and for tape, there are put, get and
    sync.
    """
    near, far = parse_address(source), parse_address(target)
    for address in (near, far):
        if isinstance(address, S3Address):
            check_key(address)
    check_version(version_id)
    began = time.monotonic()
    with interruptible():
        if isinstance(near, S3Address) and isinstance(far, S3Address):
            _refuse(content_type is not None, "--content-type", "a copy keeps the one it has")
            selection = parse_s3_selection(source, recursive=recursive, raw=raw)
            client = aws.settings(settings).client("s3", connections=_AT_ONCE + 2)
            copied = _inside(client, selection, far, version_id=version_id, storage_class=storage_class, raw=raw)
        elif isinstance(near, S3Address) and isinstance(far, LocalAddress):
            _refuse(content_type is not None, "--content-type", "a file has none")
            _refuse(storage_class is not None, "--storage-class", "a file has none")
            selection = _one_object(parse_s3_selection(source, recursive=recursive, raw=raw), "get them")
            client = aws.settings(settings).client("s3")
            found = _found(client, selection.bucket, selection.prefix, version_id)
            if far.path == "-":
                _to_stdout(client, found, settings)
                return
            copied = _to_file(client, found, far.path)
        elif isinstance(near, LocalAddress) and isinstance(far, S3Address):
            _refuse(version_id is not None, "--version-id", "a file has no versions")
            _refuse(recursive, "--recursive", "this copies one file; ds3tool put takes folders to the appliance")
            described = {} if storage_class is None else {"StorageClass": storage_class}
            client = aws.settings(settings).client("s3")
            copied = _from_file(client, near.path, far, described, content_type)
        else:
            raise UsageError(
                f"neither {source} nor {target} is in S3"
                if not isinstance(near, S3Address) and not isinstance(far, S3Address)
                else f"{far if isinstance(near, S3Address) else near} is nothing that this copies from or to",
                hint="for the appliance there are: ds3tool put, get, sync",
            )
    copied.seconds = time.monotonic() - began
    _show(copied, settings)


def _refuse(given: bool, option: str, why: str) -> None:
    if given:
        raise UsageError(f"{option} has no meaning here: {why}")


# -- inside S3 ------------------------------------------------------------------------------------------------------


def _inside(
    client: Client,
    selection: Selection,
    far: S3Address,
    *,
    version_id: str | None,
    storage_class: str | None,
    raw: bool,
) -> Copied:
    if selection.whole:
        key = far.key
        if not key or (key.endswith("/") and not raw):
            key += _last_part(selection.prefix)
        if (selection.bucket, selection.prefix, version_id) == (far.bucket, key, None):
            raise UsageError(f"{selection} would be copied onto itself")
        found = _found(client, selection.bucket, selection.prefix, version_id)
        with _readable(found):
            s3_copies.copy(client, found, far.bucket, key, storage_class=storage_class)
        return Copied(1, found.size)
    if version_id is not None:
        raise UsageError("--version-id names one version of one object", hint="give one key, without wildcards")
    if selection.pattern is None and not selection.text.endswith("/") and selection.prefix and not raw:
        raise UsageError(f"{selection} is a prefix", hint="add a slash at its end, or -r")
    below = far.as_prefix()
    base = base_of(selection)
    if far.bucket == selection.bucket and (below.key.startswith(base) or base.startswith(below.key)):
        # What is copied would be found again by the listing that is still going on, or replace what is yet to come.
        raise UsageError(
            f"{below} and {selection} lie in one another",
            hint="copy to a prefix beside it, or to another bucket",
        )
    refuse_ambiguous_pattern(client, selection)

    def copy_one(entry: S3Entry) -> None:
        found = s3_objects.listed_status(selection.bucket, entry)
        if found.size > s3_copies.MOST_AT_ONCE:
            found = s3_objects.status(client, selection.bucket, entry.key)
        with _readable(found):
            s3_copies.copy(client, found, far.bucket, below.key + entry.key[len(base) :], storage_class=storage_class)

    return _all(selected_entries(client, selection), selection.bucket, copy_one)


def _all(entries: Iterator[S3Entry], bucket: str, copy_one: Callable[[S3Entry], None]) -> Copied:
    """Copy several at once, as they are listed; what fails is named, and what fails for all ends the run."""
    copied = Copied()
    under_way: deque[tuple[S3Entry, Future[None]]] = deque()
    pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="s3-copy")
    try:
        for entry in entries:
            under_way.append((entry, pool.submit(copy_one, entry)))
            if len(under_way) > 2 * _AT_ONCE:
                _settle(copied, bucket, *under_way.popleft())
        while under_way:
            _settle(copied, bucket, *under_way.popleft())
    except KeyboardInterrupt:
        copied.stopped = InterruptedRunError("interrupted", hint="what was copied by then is there; run it again")
    except Ds3Error as error:
        if not copied.objects and not copied.failures and not isinstance(error, _FOR_ALL):
            raise
        copied.stopped = error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return copied


def _settle(copied: Copied, bucket: str, entry: S3Entry, future: Future[None]) -> None:
    try:
        future.result()
    except _FOR_ALL:
        raise
    except Ds3Error as error:
        if isinstance(error, FarSideError) and error.code == "NoSuchBucket":
            raise
        missing_now = isinstance(error, FarSideNotFoundError)
        copied.failures.append(Failure(s3_objects.address_of(bucket, entry.key), error.message, missing=missing_now))
    else:
        copied.objects += 1
        copied.bytes += entry.size or 0


# -- from this host and to it ---------------------------------------------------------------------------------------


def _one_object(selection: Selection, what: str) -> Selection:
    if not selection.whole:
        raise UsageError(
            f"{selection} is more than one object",
            hint=f"{what} one by one, or through tape: ds3tool put {selection} ds3://BUCKET/, then ds3tool get",
        )
    return selection


def _found(client: Client, bucket: str, key: str, version_id: str | None) -> S3Status:
    try:
        return s3_objects.status(client, bucket, key, version_id=version_id)
    except FarSideNotFoundError as error:
        raise missing(client, bucket, key) from error


@contextmanager
def _readable(found: S3Status) -> Iterator[None]:
    """Let S3's refusal to read what lies in Glacier say what to do about it."""
    try:
        yield
    except FarSideError as error:
        if error.code != "InvalidObjectState":
            raise
        raise SourceError(
            f"{s3_objects.address_of(found.bucket, found.key)} is {found.storage_class} and not restored, so its bytes "
            "cannot be had now",
            hint="restore it first, or put it on tape with: ds3tool put --restore-tier standard",
        ) from error


def _last_part(key: str) -> str:
    return posixpath.basename(key.rstrip("/")) + ("/" if key.endswith("/") else "")


def _to_file(client: Client, found: S3Status, path: str) -> Copied:
    if path.endswith("/") or os.path.isdir(path):
        name = posixpath.basename(found.key.rstrip("/"))
        if name in ("", ".", "..") or "\0" in name:
            raise UsageError(f"{found.key!r} gives no name for a file", hint="name the file")
        path = os.path.join(path, name)
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise PathNotFoundError(f"there is no folder {folder}")
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise UsageError(f"{path} is no file that could be replaced", hint="- writes to stdout")
    with _readable(found):
        s3_files.download(client, found, path)
    return Copied(1, found.size)


def _from_file(
    client: Client, path: str, far: S3Address, described: dict[str, str], content_type: str | None
) -> Copied:
    key = far.key
    if path == "-":
        if not key or key.endswith("/"):
            raise UsageError(f"what comes on stdin needs a key, and {far} is none")
        if sys.stdin is None:
            raise UsageError("the bytes were to come on stdin, and stdin is closed")
        described |= {} if content_type is None else {"ContentType": content_type}
        return Copied(1, s3_files.upload(client, sys.stdin.buffer, far.bucket, key, described=described))
    key = key if key and not key.endswith("/") else key + os.path.basename(path)
    check_key(S3Address(far.bucket, key))
    kind = content_type or mimetypes.guess_type(path)[0]
    described |= {} if kind is None else {"ContentType": kind}
    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UsageError(f"{path} is no file", hint="a stream is copied from stdin: -")
            size = s3_files.upload(client, file, far.bucket, key, described=described)
    except IsADirectoryError as error:
        raise UsageError(
            f"{path} is a folder, and this copies one file", hint="ds3tool put takes folders to the appliance"
        ) from error
    except OSError as error:
        raise PathNotFoundError(f"{path} cannot be read: {error.strerror}") from error
    return Copied(1, size)


def _to_stdout(client: Client, found: S3Status, settings: Settings) -> None:
    if settings.output is not OutputFormat.TABLE:
        raise UsageError(
            f"stdout is for the object's bytes, and cannot show a result as {settings.output} as well",
            hint="leave out --output, or name a file",
        )
    if getattr(sys.stdout, "name", None) == os.devnull:  # what stands in for one that the caller has closed
        raise UsageError("the object's bytes are for stdout, and stdout is closed", hint="name a file")
    written = 0
    try:
        with _readable(found):
            for block in s3_files.blocks(client, found):
                try:
                    sys.stdout.buffer.write(block)
                    sys.stdout.buffer.flush()
                except OSError as error:
                    raise lost(error) from error
                written += len(block)
    except Ds3Error as error:
        if written:
            error.hint = f"{written:,} bytes of it were written to stdout" + (f"; {error.hint}" if error.hint else "")
        raise


# -- the result -----------------------------------------------------------------------------------------------------


def _show(copied: Copied, settings: Settings) -> None:
    output = settings.results()
    failed = judged(tuple(copied.failures), done=copied.objects, what="objects could not be copied")
    error = copied.stopped or failed
    if output.shape is not OutputFormat.TABLE and output.shape is not OutputFormat.CSV:
        output.finish(copied, COPIED_FIELDS, error)
        return
    output.records(copied.failures, FAILURE_FIELDS)
    messages.note(
        f"copied {counted(copied.objects, 'object')}, {format_size(copied.bytes)} in {format_duration(copied.seconds)}",
        quiet=settings.quiet,
    )
    if error is not None:
        raise error
