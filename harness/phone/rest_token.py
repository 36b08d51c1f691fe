"""The REST token: the room, its url and the right to publish there, fetched anew for each room."""

from __future__ import annotations

import aiohttp
import msgspec

from harness.phone.room import RoomGrant, TokenRefused

TOKEN_PATH = "/api/client/livekit/token"  # noqa: S105  a path


class _Data(msgspec.Struct):
    url: str
    token: str
    room: str
    identity: str


class _Answer(msgspec.Struct):
    success: bool
    data: _Data


async def fetch_token(rest_url: str, core_token: str, within_s: float) -> RoomGrant:
    """GET a fresh room token.

    Raises:
        TokenRefused: no answer within ``within_s``, a status other than 200, or an answer of another shape.
    """
    limit = aiohttp.ClientTimeout(total=within_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit, trust_env=False) as session,
            session.get(rest_url + TOKEN_PATH, headers={"Authorization": f"Bearer {core_token}"}) as response,
        ):
            body = await response.read()
            if response.status != 200:
                raise TokenRefused(f"GET {TOKEN_PATH} answered HTTP {response.status}: {body[:120]!r}")
        answer = msgspec.json.decode(body, type=_Answer)
    except TimeoutError:
        raise TokenRefused(f"GET {TOKEN_PATH}: no answer within {within_s:.1f} s") from None
    except (aiohttp.ClientError, OSError) as error:
        raise TokenRefused(f"GET {TOKEN_PATH}: {type(error).__name__}: {error}") from error
    except msgspec.DecodeError as error:
        raise TokenRefused(f"GET {TOKEN_PATH} answered something else: {error}") from error
    if not answer.success:
        raise TokenRefused(f"GET {TOKEN_PATH} answered success=false")
    return RoomGrant(answer.data.url, answer.data.token, answer.data.room)
