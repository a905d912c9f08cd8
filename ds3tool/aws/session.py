"""How AWS, and what speaks like it, is reached: a profile, an endpoint, a region; the rest boto3 finds by itself."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import Any, Protocol

from ds3tool.aws.failures import far_side
from ds3tool.lazy_dataclass import dataclass

# A request that got no answer, or was told to slow down, is repeated by boto3 with growing waits.
_TRIES = 6
_CONNECT_SECONDS = 20
_READ_SECONDS = 120
# What boto3 takes where neither option, environment nor profile says one; services that are no AWS ask for any.
_ANY_REGION = "us-east-1"


@functools.cache
def _descriptions() -> Any:  # noqa: ANN401  # botocore's own
    """Return what reads botocore's descriptions of services: once for all clients, for each costs 50 ms of CPU."""
    import botocore.session

    return botocore.session.get_session().get_component("data_loader")


class CredentialProvider(Protocol):
    """Where credentials come from: `botocore.credentials.CredentialProvider`, or what is like it."""

    METHOD: str

    def load(self) -> Any:  # noqa: ANN401  # botocore has no types
        """Return credentials as botocore knows them."""
        ...


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """Where AWS is reached and as whom; None leaves it to what boto3 finds: environment, profiles, instance roles.

    Secrets are never in here. `profile` names one of ~/.aws/config, `endpoint` is a URL, as of another S3 than AWS's.
    """

    profile: str | None = None
    endpoint: str | None = None
    region: str | None = None

    def client(
        self,
        service: str,
        *,
        connections: int = 10,
        provider: CredentialProvider | None = None,
        **others: Any,  # noqa: ANN401  # botocore has no types
    ) -> Any:  # noqa: ANN401  # boto3 makes its types at run time
        """Return a boto3 client of a service, with room for so many requests at once; threads may share it.

        `provider` gives the credentials, in place of all that boto3 would look through. `others` are options of
        botocore's Config that stand in for ours. Raises FarSideDeniedError for a profile that is not there or
        has no credentials.
        """
        import boto3
        import botocore.config
        import botocore.credentials
        import botocore.session

        logging.getLogger("botocore.credentials").setLevel(logging.WARNING)  # it tells where keys were found
        config = botocore.config.Config(
            max_pool_connections=connections,
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _TRIES},
            user_agent_extra="ds3tool",
            # Whoever names an endpoint means one host: buckets are then no part of its name.
            s3=None if self.endpoint is None else {"addressing_style": "path"},
        ).merge(botocore.config.Config(**others))
        with far_side(service):
            own = botocore.session.get_session()
            own.register_component("data_loader", _descriptions())
            if provider is not None:
                own.register_component("credential_provider", botocore.credentials.CredentialResolver([provider]))
            session = boto3.Session(profile_name=self.profile, region_name=self.region, botocore_session=own)
            region = session.region_name or _ANY_REGION
            return session.client(service, region_name=region, endpoint_url=self.endpoint, config=config)

    def mapping(self) -> dict[str, Any]:
        """Return this for a plan or a journal; `of` reads it again."""
        return {"profile": self.profile, "endpoint": self.endpoint, "region": self.region}

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> AwsSettings:
        """Return what `mapping` has kept; KeyError for what it has not."""
        return cls(*(None if kept[name] is None else str(kept[name]) for name in ("profile", "endpoint", "region")))
