"""`put --layout firehose`: the closed hours of a delivery stream as what is put."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ds3tool.addresses import Ds3Address, parse_s3
from ds3tool.aws.session import AwsSettings
from ds3tool.cli.layout_options import LayoutOptions
from ds3tool.cli.put_s3 import S3Put, S3Root
from ds3tool.cli.selection import selection_of
from ds3tool.errors import UsageError
from ds3tool.filters import Filter
from ds3tool.firehose.closed import Closing, parse_zone
from ds3tool.firehose.error_prefixes import Errors
from ds3tool.lazy_dataclass import dataclass
from ds3tool.renaming import Renaming
from ds3tool.sources.firehose import FirehoseSource

if TYPE_CHECKING:
    from ds3tool.aws.s3_listing import S3Listed


@dataclass(frozen=True, slots=True)
class FirehosePut(S3Put):
    """The closed hours below prefixes of S3 as a put takes them; `zone` is the name of the stream's time zone."""

    closing: Closing = field(default_factory=Closing)
    zone: str = "UTC"
    errors: Errors = Errors.APART

    @classmethod
    def delivered(
        cls, sources: Sequence[str], target: Ds3Address, names: Renaming, aws: AwsSettings, options: LayoutOptions
    ) -> FirehosePut:
        """Return what `put s3://BUCKET/PREFIX/ TARGET --layout firehose` means; UsageError for what is no prefix."""
        addresses = []
        for text in sources:
            address = parse_s3(text)
            if selection_of(address, text, recursive=False, raw=False).pattern is not None:
                raise UsageError(
                    f"{text} is a pattern, and hours are told from all that is below a prefix",
                    hint="give the prefix, and --include or --newer to choose among what is closed",
                )
            addresses.append(str(address.as_prefix() if address.key else address))
        put = cls.below(addresses, target.as_prefix() if target.key else target, names, aws)
        assert isinstance(put, FirehosePut)
        return replace(
            put,
            closing=options.closing(),
            zone=options.timezone or "UTC",
            errors=options.error_prefixes or Errors.APART,
        )

    def check_listed(self) -> None:
        """Raise UsageError: what is closed is told by a whole listing."""
        raise UsageError("--files-from names what is put, and with --layout the closed hours are")

    def _source(
        self,
        root: S3Root,
        wanted: Filter | None,
        listed: Iterable[bytes] | None,
        chosen: Callable[[S3Listed], bool] | None,
    ) -> FirehoseSource:
        if listed is not None:
            self.check_listed()
        return FirehoseSource(
            self.aws,
            root.address.bucket,
            base=root.address.key,
            prefix=root.prefix,
            closing=self.closing,
            errors=self.errors,
            names=self.names,
            wanted=wanted,
            chosen=chosen,
            restored=self.restored,
        )

    def asked(self) -> dict[str, Any]:
        """Return this for a plan or a journal; `of` reads it again."""
        return {
            "firehose": {
                **S3Put.asked(self)["s3"],
                "interval": self.closing.interval.total_seconds(),
                "margin": self.closing.margin.total_seconds(),
                "zone": self.zone,
                "errors": self.errors.value,
            }
        }

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> FirehosePut:
        """Return what `asked` has kept; KeyError, TypeError or ValueError for what it has not."""
        plain = S3Put.of(kept)
        zone = str(kept["zone"])
        closing = Closing(timedelta(seconds=kept["interval"]), timedelta(seconds=kept["margin"]), parse_zone(zone))
        errors = Errors(kept["errors"])
        return cls(plain.aws, plain.roots, plain.names, plain.moved, closing=closing, zone=zone, errors=errors)
