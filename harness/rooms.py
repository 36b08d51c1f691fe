"""LiveKit's own account of its rooms, and the tokens the harness signs for itself (HS256, LiveKit's claims)."""

from __future__ import annotations

import time
from dataclasses import dataclass

import aiohttp
import jwt

from harness.errors import HarnessError

LISTENER_PREFIX = "aftershock-ear:"
"""Identity of our hidden listener begins so; it is never counted among participants."""


class RoomsUnreadable(HarnessError):
    """LiveKit did not answer the room API."""


@dataclass(frozen=True)
class RoomKeys:
    """The API key and secret of the run's LiveKit server."""

    key: str
    secret: str

    def token(self, identity: str, *, ttl_s: int = 3600, **grants: str | bool) -> str:
        """Return a token for ``identity`` with these video grants, e.g. ``room="x", roomJoin=True``."""
        now = int(time.time())
        claims = {
            "iss": self.key, "sub": identity, "name": identity, "nbf": now - 10, "exp": now + ttl_s, "video": grants,
        }  # fmt: skip
        return jwt.encode(claims, self.secret, algorithm="HS256")

    def listener_token(self, room: str, ear: str) -> str:
        """Return a token for the hidden listener: it hears data, is seen by nobody, keeps no room open."""
        return self.token(
            f"{LISTENER_PREFIX}{ear}", ttl_s=24 * 3600, room=room, roomJoin=True, canSubscribe=True,
            canPublish=False, canPublishData=False, hidden=True, recorder=True,
        )  # fmt: skip

    def agent_token(self, user: str, room: str) -> str:
        """Return a token for the bridge's agent of ``user``, with the grants a cloud gives it."""
        return self.token(
            f"cloud-agent:{user}", room=room, roomJoin=True, canPublish=True, canSubscribe=True, canPublishData=True
        )


async def participants(address: str, keys: RoomKeys, room: str, *, within_s: float = 2.0) -> tuple[str, ...]:
    """Return the identities in a room by LiveKit's room API at ``host:port``, hidden ones left out; () if no room.

    Raises:
        RoomsUnreadable: the server did not answer as it should.
    """
    token = keys.token("aftershock-rig", ttl_s=60, room=room, roomAdmin=True, roomList=True)
    url = f"http://{address}/twirp/livekit.RoomService/ListParticipants"
    timeout = aiohttp.ClientTimeout(total=within_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.post(url, json={"room": room}, headers={"Authorization": f"Bearer {token}"}) as reply,
        ):
            body = await reply.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise RoomsUnreadable(f"LiveKit at {address} did not answer ListParticipants: {error!r}") from error
    if reply.status == 404:
        return ()
    if reply.status != 200:
        raise RoomsUnreadable(f"LiveKit at {address} answered ListParticipants with {reply.status} {body}")
    found = [p for p in body.get("participants", []) if not p.get("permission", {}).get("hidden")]
    return tuple(sorted(p["identity"] for p in found if not p["identity"].startswith(LISTENER_PREFIX)))
