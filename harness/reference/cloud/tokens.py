"""Tokens: who calls (core tokens, app tokens), and who may enter a room (LiveKit access tokens).

LiveKit tokens are plain HS256 JWTs, written here because the SDK's own module takes half a second to import.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import jwt

from harness.reference.cloud.errors import Unauthorized

if TYPE_CHECKING:
    from harness.reference.cloud.settings import LiveKitKeys

PUBLISH_TTL_S = 300
AGENT_TTL_S = 600_000 * 60
REST_TTL_S = 1440 * 60


def read_core_token(authorization: str, query_token: str, secret: str) -> str:
    """Give the user id (the e-mail claim) of a core token; the header wins over the query. Raises Unauthorized."""
    token = authorization[len("Bearer ") :] if authorization.startswith("Bearer ") else query_token
    if not token:
        raise Unauthorized("No core token provided")
    try:
        email = jwt.decode(token, secret, algorithms=["HS256"]).get("email")
    except jwt.PyJWTError:
        raise Unauthorized("Invalid core token") from None
    if not isinstance(email, str) or not email:
        raise Unauthorized("Invalid core token")
    return email


def read_app_token(token: str, secret: str) -> tuple[str, str]:
    """Give (package name, API key) of an app's token. Raises Unauthorized."""
    try:
        claims = jwt.decode(token, secret, algorithms=["HS256"])
    except jwt.PyJWTError:
        raise Unauthorized("Invalid app token") from None
    package_name, api_key = claims.get("packageName"), claims.get("apiKey")
    if not isinstance(package_name, str) or not isinstance(api_key, str):
        raise Unauthorized("Invalid app token")
    return package_name, api_key


def publish_token(keys: LiveKitKeys, user_id: str, room: str) -> str:
    """Make the token of the ACK: may publish, may not subscribe, 300 s."""
    return _access_token(keys, user_id, room, PUBLISH_TTL_S, may_subscribe=False)


def agent_token(keys: LiveKitKeys, user_id: str, room: str) -> str:
    """Make the bridge's token: identity `cloud-agent:<user>`, 600 000 minutes."""
    return _access_token(keys, f"cloud-agent:{user_id}", room, AGENT_TTL_S, may_subscribe=True)


def rest_token(keys: LiveKitKeys, user_id: str, room: str) -> str:
    """Make the token that phones fetch: publish and subscribe, 1440 minutes."""
    return _access_token(keys, user_id, room, REST_TTL_S, may_subscribe=True)


def _access_token(keys: LiveKitKeys, identity: str, room: str, ttl_s: int, *, may_subscribe: bool) -> str:
    now = int(time.time())
    claims = {
        "iss": keys.key,
        "sub": identity,
        "name": identity,
        "nbf": now - 5,  # two machines' clocks may differ a little
        "exp": now + ttl_s,
        "video": {
            "room": room,
            "roomJoin": True,
            "canPublish": True,
            "canSubscribe": may_subscribe,
            "canPublishData": True,
        },
    }
    return jwt.encode(claims, keys.secret, algorithm="HS256")
