"""A second user of the appliance, made for one case and taken away again."""

from __future__ import annotations

import secrets
from dataclasses import field

from ds3tool.certification.ground import Ground
from ds3tool.certification.sheet import NotApplicableError
from ds3tool.errors import ApplianceError, ProtocolError
from ds3tool.lazy_dataclass import dataclass
from ds3tool.protocol.messages import Request, Response
from ds3tool.protocol.responses import nothing
from ds3tool.protocol.xmlcodec import read_tree

# This user may not, or this appliance does not.
_MAY_NOT = (403, 404, 405, 501)


@dataclass(frozen=True, slots=True)
class SecondUser:
    """A user's id and keys."""

    id: str
    access_key: str
    secret_key: str = field(repr=False)

    @classmethod
    def make(cls, ground: Ground) -> SecondUser:
        """Make one through the API; NotApplicableError when the caller may not, or the appliance does not."""
        name = f"ds3tool-certify-{secrets.token_hex(4)}"
        request = Request("POST", "/_rest_/user", (("name", name),), idempotent=False)
        try:
            user = ground.client.exchange.exchange(request, _user)
        except ApplianceError as error:
            if error.status not in _MAY_NOT:
                raise
            raise NotApplicableError(f"no second user could be made: {error.message}") from error
        ground.afterwards(lambda: user.remove(ground))
        return user

    def remove(self, ground: Ground) -> None:
        """Take the user away."""
        ground.client.exchange.exchange(Request("DELETE", f"/_rest_/user/{self.id}"), nothing)


def _user(response: Response) -> SecondUser:
    told = read_tree(response.body, what="the new user", root=("Data", "User"))
    texts = {name: told.value(name) for name in ("Id", "AuthId", "SecretKey")}
    missing = [name for name, text in texts.items() if not text]
    if missing:
        raise ProtocolError(f"the new user has no {missing[0]}")
    return SecondUser(texts["Id"] or "", texts["AuthId"] or "", texts["SecretKey"] or "")
