"""One user's LiveKit manager: tokens, the bridge subscriber, and the rejoin with its backoff window."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine

from harness.reference.cloud import tokens
from harness.reference.cloud.audio_status import AudioStatus
from harness.reference.cloud.bridge_calls import BridgeStatus, Join
from harness.reference.cloud.bridge_client import BridgeClient
from harness.reference.cloud.context import Context
from harness.reference.cloud.errors import JoinFailed
from harness.reference.cloud.gap import GapDetector
from harness.reference.cloud.wire import Message

FAREWELL_S = 2.5
"""How long a new session waits for the farewell of the one before: the join in flight, and a little for its leave."""


class LiveKitManager:
    """Keep one user's bridge subscriber.

    `on_chunk` gets PCM; `audio_status` hears why audio cannot come and knows how long none came; `after` (an earlier
    session's farewell, if any) is awaited before the first join, so that its LeaveRoom cannot end the new session.
    """

    def __init__(
        self,
        ctx: Context,
        user_id: str,
        on_chunk: Callable[[bytes], None],
        audio_status: AudioStatus,
        after: asyncio.Task[None] | None = None,
    ) -> None:
        """Start with no client and nothing requested."""
        self._ctx = ctx
        self._user_id = user_id
        self._log = ctx.log.of(userId=user_id, service="LiveKitManager")
        self._on_chunk = on_chunk
        self._audio = audio_status
        self._after = after
        self._client: BridgeClient | None = None
        self._former: list[BridgeClient] = []
        self._joining = asyncio.Lock()
        self._last_rejoin_s = -float("inf")
        self._disposed = False
        self._unguarded = ctx.defects.has("fresh-client-no-dispose") or ctx.defects.has("no-connecting-guard")
        self.requested = False
        """Whether a phone of this session asked for LiveKit."""
        detector = GapDetector(
            self._log, ctx.timers, lambda: self._audio.silent_s, lambda: self._is_connected, self.rejoin
        )
        watched = not ctx.defects.has("no-gap-detector")
        self._watching = ctx.background.spawn(detector.watch(), f"gaps of {user_id}") if watched else None

    @property
    def has_client(self) -> bool:
        """Whether a bridge client was ever made."""
        return self._client is not None

    def info(self) -> Message | None:
        """Give the ACK's `livekit` object; None when LiveKit is not configured."""
        keys = self._ctx.settings.livekit
        if keys is None:
            return None
        room = self._ctx.settings.room_of(self._user_id)
        self._log.info("Returning LiveKit info", roomName=room, url=keys.url)
        return {"url": keys.url, "roomName": room, "token": tokens.publish_token(keys, self._user_id, room)}

    @property
    def _is_connected(self) -> bool:
        return self._client is not None and self._client.is_connected

    async def start(self) -> None:
        """Start the subscriber unless it is connected, and wait for that within the ACK's limit.

        A failure is logged, told and tried again in the background.
        """
        if self._joining.locked() and self._unguarded:
            await self._start_anew()  # as the real cloud, which looks only whether the client there is connected
            return
        await self._for_the_ack(self._start(), f"bridge subscriber of {self._user_id}")

    async def _start(self) -> None:
        async with self._joining:
            if self._disposed:
                return
            if self._is_connected:
                self._log.debug("Bridge subscriber already connected")
                return
            if self._after is not None:
                await self._wait_for_farewell(self._after)
                if self._disposed:
                    return
            await self._start_anew()

    async def _start_anew(self) -> None:
        join = self._fresh_join()
        if join is None:
            return
        former, self._client = self._client, None
        if former is not None:
            await self._retire(former)
        client = BridgeClient(
            self._ctx, self._user_id, self._on_chunk, self._audio.failed, lambda: self._audio.phone_here
        )
        self._client = client
        try:
            await client.connect(join)
        except JoinFailed as problem:
            self._log.error("Failed to start bridge subscriber", error=str(problem))
            self._audio.failed("Failed to start bridge subscriber")
            client.try_again()
        else:
            self._log.info("Bridge subscriber connected", roomName=join.room)

    async def _retire(self, former: BridgeClient) -> None:
        """Let go of the client before; its LeaveRoom, if it owes one, is answered before the new one joins."""
        if self._unguarded or self._ctx.defects.has("init-twice"):
            self._former.append(former)
        elif self._ctx.defects.has("rejoin-without-leave"):
            former.forget()
            self._former.append(former)
        else:
            await former.disconnect()

    async def _for_the_ack(self, work: Coroutine[object, object, None], name: str) -> None:
        """Wait for work with the bridge as long as an ACK may; then it goes on by itself, and the phone is told."""
        task = self._ctx.background.spawn(work, name)
        patient = self._ctx.defects.has("no-rpc-deadline")
        _, late = await asyncio.wait({task}, timeout=None if patient else self._ctx.timers.ack_wait_s)
        if late:
            self._log.warning("Not waiting longer for the bridge", work=name)
            self._audio.failed("the bridge does not answer")

    async def ensure_connected(self) -> None:
        """Start the subscriber if need be; a join in flight is left alone."""
        if not self.requested:
            return
        self._log.debug("Ensuring bridge subscriber is connected")
        if self._joining.locked() and not self._ctx.defects.has("no-connecting-guard"):
            self._log.debug("Connection already in progress, skipping duplicate call")
            return
        await self.start()

    async def start_twice(self) -> None:
        """Start a second subscriber beside the one there is: what a connection_init does with the defect."""
        if self.requested:
            await self._start_anew()

    async def check_after_reconnect(self) -> None:
        """Ask the bridge how it is and rejoin unless it is well; a failure is logged and swallowed."""
        await self._for_the_ack(self._check_logging_failure(), f"bridge check of {self._user_id}")

    async def _check_logging_failure(self) -> None:
        try:
            await self._check_after_reconnect()
        except Exception as problem:  # noqa: BLE001  the real cloud goes on to the ACK, whatever it is
            self._log.error("Reconnect: bridge status check failed", error=repr(problem))

    async def _check_after_reconnect(self) -> None:
        status = await self.status()
        self._log.info("Reconnect: bridge status", **_fields(status))
        healthy = status is not None and status.connected
        if healthy and not self._ctx.defects.has("rejoin-without-leave"):
            self._log.info("Reconnect: bridge healthy, keeping session")
        else:
            await self.rejoin()
            self._log.info("Reconnect: bridge rejoin attempted")
        if self._client is not None and self._client.is_connected:
            self._client.phone_came()

    async def status(self) -> BridgeStatus | None:
        """Ask the bridge about this user; None without a client."""
        if self._client is None:
            self._log.debug("getBridgeStatus: no bridge client")
            return None
        status = await self._client.status()
        self._log.debug("Bridge status fetched", **_fields(status))
        return status

    async def rejoin(self) -> None:
        """Rejoin with a fresh token, once per backoff window; a failure is logged and swallowed.

        One that had to wait for another change leaves alone what that one brought up.
        """
        join = self._fresh_join()
        if join is None or self._client is None:
            return
        if self._ctx.defects.has("no-rejoin"):
            self._log.warning("Bridge is not connected, waiting for it to come back")
            return
        if self._joining.locked() and self._ctx.defects.has("fresh-client-no-dispose"):
            self._log.debug("Connection already in progress, skipping duplicate call")
            return
        now_s = time.monotonic()
        if now_s - self._last_rejoin_s < self._ctx.timers.rejoin_backoff_s:
            self._log.warning("Skipping rejoin due to backoff window")
            return
        self._last_rejoin_s = now_s
        async with self._joining:
            if self._disposed or self._client is None:
                return
            try:
                rejoined = await self._client.rejoin(join, asked_s=now_s)
            except JoinFailed as problem:
                self._log.error("Bridge rejoin failed", error=str(problem))
                self._audio.failed("Bridge rejoin failed")
                self._client.try_again()
            else:
                line = "Bridge rejoined LiveKit room" if rejoined else "Skipping rejoin: connected in the meantime"
                self._log.info(line, roomName=join.room)

    async def dispose(self) -> None:
        """Leave the room and let go of every client."""
        self._disposed = True
        if self._watching is not None:
            self._watching.cancel()
        farewells = [client.let_go() for client in self._former]
        if self._client is not None:
            farewells.append(self._client.disconnect())
        await asyncio.gather(*farewells)

    async def _wait_for_farewell(self, farewell: asyncio.Task[None]) -> None:
        _, late = await asyncio.wait([farewell], timeout=FAREWELL_S)
        if late:
            self._log.warning("Not waiting longer for the earlier session's farewell")

    def _fresh_join(self) -> Join | None:
        keys = self._ctx.settings.livekit
        if keys is None:
            return None
        room = self._ctx.settings.room_of(self._user_id)
        return Join(room, tokens.agent_token(keys, self._user_id, room), keys.url)


def _fields(status: BridgeStatus | None) -> dict[str, object]:
    if status is None:
        return {"status": None}
    return {
        "connected": status.connected,
        "participantCount": status.participant_count,
        "last_disconnect_reason": status.last_disconnect_reason,
    }
