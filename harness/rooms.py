"""LiveKit's own account of its rooms, and the tokens the harness signs for itself (HS256, LiveKit's claims)."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt

from harness.errors import HarnessError, MachineError
from harness.redact import mask

LISTENER_PREFIX = "aftershock-ear:"
"""Identity of our hidden listener begins so; it is never counted among participants."""
OK, REFUSED, NO_SUCH_ROOM = 200, (401, 403), 404
LEEWAY_S = 60
"""How much longer than its ``exp`` a token is taken (go-jose's DefaultLeeway)."""
SHOWN = 200
"""Characters of an answer that are told."""


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
            "iss": self.key, "sub": identity, "name": identity, "nbf": now - 10 - max(0, -ttl_s), "exp": now + ttl_s,
            "video": grants,
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

    def phone_token(self, user: str, room: str, *, ttl_s: int) -> str:
        """Return a token for the phone of ``user`` that LiveKit takes for ``ttl_s`` from now.

        LiveKit takes a token for a minute more than it says (the leeway of its JWT library, go-jose), so it says less.
        """
        return self.token(
            user, ttl_s=ttl_s - LEEWAY_S, room=room, roomJoin=True, canPublish=True, canSubscribe=True,
            canPublishData=True,
        )  # fmt: skip


async def participants(address: str, keys: RoomKeys, room: str, *, within_s: float = 2.0) -> tuple[str, ...]:
    """Return the identities in a room by LiveKit's room API at ``host:port``, hidden ones left out; () if no room.

    Raises:
        RoomsUnreadable: the server did not answer as it should.
    """
    token = keys.token("aftershock-rig", ttl_s=60, room=room, roomAdmin=True, roomList=True)
    status, text = await _asked(address, "ListParticipants", token, {"room": room}, within_s)
    if status == NO_SUCH_ROOM:
        return ()
    body = _read(address, "ListParticipants", status, text)
    found = [p for p in body.get("participants", []) if not p.get("permission", {}).get("hidden")]
    return tuple(sorted(p["identity"] for p in found if not p["identity"].startswith(LISTENER_PREFIX)))


async def remove_participant(address: str, keys: RoomKeys, room: str, identity: str, *, within_s: float = 2.0) -> None:
    """Put a participant out of a room, as an administrator does (leave reason PARTICIPANT_REMOVED).

    Raises:
        RoomsUnreadable: the server did not do it: nobody of that identity is there, or no such room.
    """
    token = keys.token("aftershock-rig", ttl_s=60, room=room, roomAdmin=True)
    status, text = await _asked(address, "RemoveParticipant", token, {"room": room, "identity": identity}, within_s)
    _read(address, "RemoveParticipant", status, text)


async def delete_room(address: str, keys: RoomKeys, room: str, *, within_s: float = 2.0) -> None:
    """End a room: everybody in it is put out (leave reason ROOM_DELETED); who joins next makes it anew.

    Raises:
        RoomsUnreadable: the server did not do it.
    """
    token = keys.token("aftershock-rig", ttl_s=60, roomCreate=True)
    status, text = await _asked(address, "DeleteRoom", token, {"room": room}, within_s)
    _read(address, "DeleteRoom", status, text)


async def check_keys(address: str, keys: RoomKeys, *, within_s: float = 2.0) -> None:
    """See that the LiveKit at ``host:port``, which is not ours, takes this key and secret.

    Raises:
        MachineError: it does not.
        RoomsUnreadable: the server did not answer as it should.
    """
    token = keys.token("aftershock-rig", ttl_s=60, roomList=True)
    status, text = await _asked(address, "ListRooms", token, {}, within_s)
    if status in REFUSED:
        raise MachineError(
            f"secrets.livekit.key and secrets.livekit.secret to be those of the LiveKit at {address}",
            _told(status, text),
            "--set 'secrets.livekit.key=$NAME' and --set 'secrets.livekit.secret=$NAME' take them from the environment",
        )
    _read(address, "ListRooms", status, text)


async def _asked(address: str, method: str, token: str, request: dict[str, str], within_s: float) -> tuple[int, str]:
    url = f"http://{address}/twirp/livekit.RoomService/{method}"
    timeout = aiohttp.ClientTimeout(total=within_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.post(url, json=request, headers={"Authorization": f"Bearer {token}"}) as reply,
        ):
            return reply.status, await reply.text(errors="replace")
    except (aiohttp.ClientError, TimeoutError) as error:
        why = f"nothing within {within_s:g} s" if isinstance(error, TimeoutError) else str(error) or repr(error)
        raise RoomsUnreadable(f"LiveKit at {address} did not answer {method}: {mask(why)}") from error


def _read(address: str, method: str, status: int, text: str) -> dict[str, Any]:
    try:
        body = json.loads(text) if status == OK else None
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RoomsUnreadable(f"LiveKit at {address} answered {method} with {_told(status, text)}")
    return body


def _told(status: int, text: str) -> str:
    """Return an answer in one line; a server repeats the token that it refuses."""
    return f"{status} {mask(' '.join(text.split()))[:SHOWN]}".rstrip()
