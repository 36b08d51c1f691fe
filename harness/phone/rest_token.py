"""The REST token: the room, its url and the right to publish there, fetched anew for each room."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import threading
from urllib.parse import urlsplit

import msgspec

from harness.errors import HarnessError
from harness.redact import know_secret

TOKEN_PATH = "/api/client/livekit/token"  # noqa: S105  a path


class TokenRefused(HarnessError):
    """The REST token could not be had; the text is the reason."""


class RoomGrant(msgspec.Struct, frozen=True, rename={"advertised_url": "url"}):
    """A token for a room, as the REST endpoint gave it."""

    advertised_url: str
    token: str
    room: str
    identity: str = ""


class _Answer(msgspec.Struct):
    success: bool
    data: RoomGrant


async def fetch_token(rest_url: str, core_token: str, within_s: float) -> RoomGrant:
    """GET a fresh room token from ``rest_url`` (http://host:port).

    Raises:
        TokenRefused: no answer within ``within_s``, a status other than 200, or an answer of another shape.
    """
    try:
        async with asyncio.timeout(within_s):
            status, body = await _get(rest_url, core_token, within_s)
        if status != http.HTTPStatus.OK:
            raise TokenRefused(f"GET {TOKEN_PATH} answered HTTP {status}: {body[:120].decode(errors='replace')}")
        answer = msgspec.json.decode(body, type=_Answer)
    except TimeoutError:
        raise TokenRefused(f"GET {TOKEN_PATH}: no answer within {within_s:.1f} s") from None
    except (http.client.HTTPException, OSError) as error:
        raise TokenRefused(f"GET {TOKEN_PATH}: {type(error).__name__}: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TokenRefused(f"GET {TOKEN_PATH} answered something else: {error}") from error
    if not answer.success:
        raise TokenRefused(f"GET {TOKEN_PATH} answered success=false")
    know_secret(answer.data.token)
    return answer.data


async def _get(rest_url: str, core_token: str, within_s: float) -> tuple[int, bytes]:
    """GET in a daemon thread: aiohttp would add 0.2 s to the start of each phone, and an executor to its end."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[tuple[int, bytes]] = loop.create_future()

    def settle(result: tuple[int, bytes] | BaseException) -> None:
        if answered.done():
            return
        if isinstance(result, BaseException):
            answered.set_exception(result)
        else:
            answered.set_result(result)

    def work() -> None:
        connection = http.client.HTTPConnection(urlsplit(rest_url).netloc, timeout=within_s)
        result: tuple[int, bytes] | BaseException
        try:
            connection.request("GET", TOKEN_PATH, headers={"Authorization": f"Bearer {core_token}"})
            response = connection.getresponse()
            result = (response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            result = error
        finally:
            connection.close()
        with contextlib.suppress(RuntimeError):  # the loop is closed: the phone ended meanwhile
            loop.call_soon_threadsafe(settle, result)

    threading.Thread(target=work, name="REST token", daemon=True).start()
    return await answered
