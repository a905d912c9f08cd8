"""The options that say where S3, and what else AWS has, is reached and as whom; several commands take them."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ds3tool.cli.options import option_group
from ds3tool.errors import UsageError
from ds3tool.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from ds3tool.aws.session import AwsSettings
    from ds3tool.cli.settings import Settings


@option_group("S3 and AWS")
@dataclass(frozen=True, slots=True)
class AwsOptions:
    """What `--s3-profile`, `--s3-endpoint` and `--s3-region` were given; `--profile` and so on mean the appliance."""

    s3_profile: Annotated[
        str | None,
        typer.Option(
            "--s3-profile", metavar="NAME", help="Profile of ~/.aws/config; else as AWS's own tools find their keys."
        ),
    ] = None
    s3_endpoint: Annotated[
        str | None,
        typer.Option(
            "--s3-endpoint", metavar="URL", help="Another S3 than AWS's, as http://HOST:PORT; else AWS_ENDPOINT_URL."
        ),
    ] = None
    s3_region: Annotated[
        str | None, typer.Option("--s3-region", metavar="NAME", help="Region, as eu-west-1; else AWS_REGION.")
    ] = None

    def __post_init__(self) -> None:
        """Refuse what is no endpoint, whether or not it is needed: UsageError."""
        if self.s3_endpoint is not None:
            _check(self.s3_endpoint)

    def settings(self, settings: "Settings", *, service: str = "s3") -> "AwsSettings":
        """Return where a service of AWS is reached: as the options say, else the profile's `s3` table, else AWS's own.

        What the environment says of the place is kept with it, so that a piece of work that another shell, or a
        timer, resumes means the same place; who asks is found anew each time. UsageError for an endpoint that is none.
        """
        return self._over(settings.profile_table("s3"), service)

    def not_ours(self) -> "AwsSettings":
        """Return where S3 is reached that is somebody else's, whose keys come from them: no profile says that."""
        return replace(self._over({}, "s3"), profile=None)

    def _over(self, table: Mapping[str, str], service: str) -> "AwsSettings":
        from ds3tool.aws.session import AwsSettings

        # What a profile calls the endpoint of S3 is none of SNS or Firehose.
        known = table.get("endpoint") if service == "s3" else None
        endpoint = self.s3_endpoint or known or _endpoint_of_environment(service)
        if endpoint is not None:
            _check(endpoint)
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None
        profile = self.s3_profile or table.get("profile") or _profile_of_environment()
        return AwsSettings(profile, endpoint, self.s3_region or table.get("region") or region)


def _profile_of_environment() -> str | None:
    """Return the profile that the environment names, unless keys beside it win over it."""
    return None if os.environ.get("AWS_ACCESS_KEY_ID") else os.environ.get("AWS_PROFILE") or None


def _endpoint_of_environment(service: str) -> str | None:
    # Source: AWS SDKs, service-specific endpoints. An explicit profile's own endpoint ranks below both variables.
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or os.environ.get("AWS_ENDPOINT_URL") or None


def _check(endpoint: str) -> None:
    scheme, separator, rest = endpoint.partition("://")
    if not separator or scheme.lower() not in {"http", "https"} or not rest:
        raise UsageError(f"{endpoint!r} is no endpoint", hint="write it like http://127.0.0.1:9000 or https://s3.host")
    if "@" in rest.partition("/")[0]:
        raise UsageError("an endpoint has no keys in it", hint="keys come from a profile or the environment")
