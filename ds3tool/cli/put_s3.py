"""Objects of S3 as what is put: as the command names them, and as plans and journals keep them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from ds3tool.addresses import Ds3Address, S3Address, parse_address, parse_s3
from ds3tool.aws.failures import far_side
from ds3tool.aws.session import AwsSettings
from ds3tool.cli.failures import NothingThereError
from ds3tool.cli.lookup import base_of
from ds3tool.cli.selection import Selection, selection_of
from ds3tool.errors import FarSideForbiddenError, FarSideNotFoundError, UsageError
from ds3tool.filters import Filter
from ds3tool.jobs.ends import Source
from ds3tool.jobs.plan import PlannedJob
from ds3tool.lazy_dataclass import dataclass
from ds3tool.renaming import Renaming
from ds3tool.sources.planned import PlannedSource
from ds3tool.sources.several import SeveralSources

if TYPE_CHECKING:
    from ds3tool.aws.s3_listing import S3Listed
    from ds3tool.jobs.planfile import SavedPlan
    from ds3tool.jobs.work_head import WorkHead
    from ds3tool.sources.s3 import S3Source


@dataclass(frozen=True, slots=True)
class S3Root:
    """One address as a put takes it, with what its keys on the appliance begin with (of one object, the whole key).

    `raw`: wildcards and a slash at its end stand for themselves.
    """

    address: S3Address
    prefix: str
    raw: bool = False

    @property
    def selection(self) -> Selection:
        """What the address selects."""
        return selection_of(self.address, str(self.address), recursive=False, raw=self.raw)


@dataclass(frozen=True, slots=True)
class S3Put:
    """Objects of S3 as a put takes them.

    `moved`: they are elsewhere than where they were planned, where all their keys began with this. `restored`: what of
    them is archived is to be restored before anything is read.
    """

    aws: AwsSettings
    roots: tuple[S3Root, ...]
    names: Renaming = field(default_factory=Renaming)
    moved: str | None = None
    restored: bool = False

    @classmethod
    def below(
        cls, sources: Sequence[str], target: Ds3Address, names: Renaming, aws: AwsSettings, *, raw: bool = False
    ) -> S3Put:
        """Return what `put s3://... TARGET` means. UsageError where one target stands for several objects."""
        if len(sources) > 1 and not target.is_prefix:
            raise UsageError(
                f"{target} is one key, and there are {len(sources)} sources",
                hint=f"to put them below it, write {target}/",
            )
        roots = []
        for text in sources:
            root = S3Root(parse_s3(text), "", raw)
            selection = root.selection
            if not selection.whole:
                prefix = target.as_prefix().key if target.key else ""
            elif target.is_prefix:
                prefix = target.key + names(selection.prefix[len(_folder_of(selection.prefix)) :])
            else:
                prefix = target.key
            roots.append(replace(root, prefix=prefix))
        return cls(aws, tuple(roots), names)

    def look(self) -> None:
        """See that every source names something, before anything is planned.

        Raises FarSideNotFoundError or NothingThereError, with the way out, UsageError for a pattern that is also a
        key, and what S3 says to whom it does not know.
        """
        from ds3tool.cli.s3_selection import entry_of, refuse_ambiguous_pattern, selected_entries

        client = self.aws.client("s3")
        for root in self.roots:
            selection = root.selection
            if selection.whole:
                entry_of(client, selection.bucket, selection.prefix)
                continue
            refuse_ambiguous_pattern(client, selection)
            try:
                next(selected_entries(client, selection), None)
            except NothingThereError as error:
                raise NothingThereError(f"{selection} names no object", hint=error.hint) from error

    def check_listed(self) -> None:
        """Raise UsageError when names of a list cannot be below the sources."""
        if len(self.roots) > 1:
            raise UsageError("--files-from names what is below one prefix, and there are several sources")
        selection = self.roots[0].selection
        if selection.whole or selection.pattern is not None:
            raise UsageError(
                f"the names in --files-from are below an address, and {selection} is none that anything is below",
                hint="give a bucket or a prefix that ends in a slash",
            )

    # -- a kind of what can be put ------------------------------------------------------------------------------

    @property
    def shown(self) -> list[str]:
        """The addresses."""
        return [str(root.address) for root in self.roots]

    def source(
        self,
        *,
        wanted: Filter | None = None,
        listed: Iterable[bytes] | None = None,
        chosen: Callable[[S3Listed], bool] | None = None,
    ) -> Source:
        """Return what reads them: what of them is `wanted`, and below the one prefix only what `listed` names."""
        if listed is not None:
            self.check_listed()
        sources = [self._source(root, wanted, listed, chosen) for root in self.roots]
        return sources[0] if len(sources) == 1 else SeveralSources(sources)

    def _source(
        self,
        root: S3Root,
        wanted: Filter | None,
        listed: Iterable[bytes] | None,
        chosen: Callable[[S3Listed], bool] | None,
    ) -> S3Source:
        from ds3tool.sources.s3 import S3Source

        selection = root.selection
        return S3Source(
            self.aws,
            selection.bucket,
            base=_base_of(selection),
            prefix=root.prefix,
            whole=selection.whole,
            matches=None if selection.pattern is None else selection.selects,
            names=self.names,
            wanted=wanted,
            listed=listed,
            chosen=chosen,
            within=selection.prefix,
            restored=self.restored,
        )

    def planned(self, plan: SavedPlan) -> Source:
        """Return what a saved plan lists of them."""
        return PlannedSource(self.source(), plan.source_objects)

    def asked(self) -> dict[str, Any]:
        """Return this for a plan or a journal; `of` reads it again. Whose credentials are used is no part of it."""
        return {
            "s3": {
                "aws": self.aws.mapping(),
                "roots": [[str(root.address), root.prefix, root.raw] for root in self.roots],
                "strip": self.names.strip,
                "names": dict(self.names.names),
            }
        }

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> S3Put:
        """Return what `asked` has kept; KeyError, TypeError or ValueError for what it has not."""
        return cls(
            AwsSettings.of(kept["aws"]),
            tuple(S3Root(parse_s3(str(text)), str(prefix), raw is True) for text, prefix, raw in kept["roots"]),
            Renaming(str(kept["strip"]), {str(old): str(new) for old, new in kept["names"].items()}),
        )

    def check_there(self, head: WorkHead) -> None:
        """See that each bucket is there, and that who asks may use it: else every object would seem to be gone."""
        client = self.aws.client("s3")
        for root in self.roots:
            elsewhere = f"if they are elsewhere now: ds3tool resume {head.id} --source ADDRESS"
            with of_work(root.address, head, elsewhere):
                _look_at(client, root)

    def moved_to(self, place: str) -> S3Put:
        """Return the same with another address for its one; UsageError where there are several, or it is none of S3."""
        address = parse_address(place)
        if not isinstance(address, S3Address):
            raise UsageError(f"{place} is not in S3, where the work's objects are", hint="write s3://BUCKET/PREFIX/")
        if len(self.roots) > 1:
            raise UsageError(
                f"the work has {len(self.roots)} sources, and --source stands in for one",
                hint="put them back where they were",
            )
        (root,) = self.roots
        if not root.selection.whole:
            address = address.as_prefix() if address.key else address
        return replace(self, roots=(replace(root, address=address, raw=True),), moved=_base_of(root.selection))

    def adopted(self, plan: PlannedJob) -> None:
        """Let what was planned of the one source stand for objects of the same name and ETag at the other."""
        if self.moved is None:
            return
        from ds3tool.sources.s3_reader import Pin

        (root,) = self.roots
        base = _base_of(root.selection)
        for number, name in enumerate(plan.source_names):
            pin = Pin.of(name)
            plan.source_names[number] = replace(pin, key=base + pin.key[len(self.moved) :], version_id=None).to_name()


def _base_of(selection: Selection) -> str:
    """Return what names below a selection leave out of their keys; of one object, the whole key."""
    return selection.prefix if selection.whole else base_of(selection)


def _folder_of(key: str) -> str:
    folder, slash, _ = key.rpartition("/")
    return folder + slash


def _look_at(client: Any, root: S3Root) -> None:  # noqa: ANN401  # boto3 makes its types at run time
    """Raise a FarSideError unless who asks may list what a put had listed, or read the one object that it had found."""
    selection = root.selection
    with far_side(str(root.address)):
        if not selection.whole:
            client.list_objects_v2(Bucket=selection.bucket, Prefix=selection.prefix, MaxKeys=1)
            return
        try:
            client.head_object(Bucket=selection.bucket, Key=selection.prefix)
        except client.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            seen_bucket(client, selection.bucket)  # the object alone may be gone, which fails by its name


def seen_bucket(client: Any, bucket: str) -> bool:  # noqa: ANN401  # boto3 makes its types at run time
    """Whether who asks may look at a bucket, and it is there: a FarSideNotFoundError where it is not.

    Who may write into a bucket need not be one who may look at it.
    """
    try:
        with far_side(f"s3://{bucket}"):
            client.head_bucket(Bucket=bucket)
    except FarSideForbiddenError:
        return False
    except FarSideNotFoundError as error:
        raise FarSideNotFoundError(
            f"there is no bucket s3://{bucket}",
            status=error.status,
            code=error.code,
            hint=f"make it with: ds3tool s3 mb s3://{bucket}",
        ) from error
    return True


@contextmanager
def of_work(address: S3Address, head: WorkHead, elsewhere: str) -> Iterator[None]:
    """Let what S3 refuses say for which unfinished work it was asked, and what the way out is."""
    nothing = f"so nothing was done for work {head.id}"
    try:
        yield
    except FarSideNotFoundError as error:
        raise FarSideNotFoundError(
            f"there is no bucket s3://{address.bucket}, {nothing}",
            status=error.status,
            code=error.code,
            hint=f"does the work's endpoint still name the same S3? {elsewhere}",
        ) from error
    except FarSideForbiddenError as error:
        raise FarSideForbiddenError(
            f"{error.message}, {nothing}",
            status=error.status,
            code=error.code,
            request_id=error.request_id,
            hint="are these the credentials with which it was begun?",
        ) from error
