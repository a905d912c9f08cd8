"""The controls of a running appliance, as `ds3tool sim` asks them: JSON over a port of this host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from ds3tool.cli.appliances import RunningAppliance
from ds3tool.cli.failures import NothingThereError
from ds3tool.errors import Ds3Error, UsageError

_HOST = "127.0.0.1"
_PATIENCE_SECONDS = 60.0


def ask(
    appliance: RunningAppliance,
    path: str,
    change: Mapping[str, object] | None = None,
    *,
    query: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Return what an appliance's controls say at `path`, after a change if any.

    UsageError with its own words when it refuses, NothingThereError when it knows no such thing; Ds3Error when nobody
    answers as an appliance does.
    """
    import http.client

    if appliance.control_port is None or appliance.control_token is None:
        raise UsageError(
            f"the appliance at {appliance.endpoint} has no controls",
            hint="it was started without them; stop it and start it again: ds3tool sim start",
        )
    connection = http.client.HTTPConnection(_HOST, appliance.control_port, timeout=_PATIENCE_SECONDS)
    try:
        headers = {"Authorization": f"Bearer {appliance.control_token}"}
        target = f"{path}?{urlencode(query)}" if query else path
        if change is None:
            connection.request("GET", target, headers=headers)
        else:
            connection.request("PUT", target, json.dumps(change), headers)
        reply = connection.getresponse()
        told = json.loads(reply.read())
        if reply.status == 200:
            return dict(told)
        refused = NothingThereError if reply.status == 404 else UsageError
        raise refused(told["error"]["message"], hint=told["error"]["hint"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        where = f"{_HOST}:{appliance.control_port}"
        raise Ds3Error(f"the controls of the appliance, at {where}, do not answer as they should: {error}") from error
    finally:
        connection.close()
