"""Faults of sessions: what somebody else left behind, or ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.errors import FaultDidNotLand, StartFailed
from harness.faults.base import Landed, Scene
from harness.moments import reply

LATER_STREAM = "later stream"
TAKES_BACK_WITHIN_S = 10.0
"""How long a cloud that is about to take a session back may need for the first audio of it."""


@dataclass(frozen=True)
class PlantSession:
    """A session of this person is already in the bridge: its cloud died between JoinRoom and StreamAudio.

    The harness sends JoinRoom itself, goes away after the answer and never sends LeaveRoom. The zombie gate must
    then see the session, or nothing can be concluded.
    """

    person: str

    heals = False

    @property
    def target(self) -> str:
        return "bridge"

    @property
    def blast(self) -> tuple[str, ...]:
        return ("bridge", self.person)

    def missing(self, scene: Scene) -> str | None:
        """There must be a bridge to plant it in."""
        return None if scene.has("bridge") else "this system has no bridge"

    async def inject(self, scene: Scene) -> Landed:
        """Send JoinRoom; the proof is the answer, and the gate's."""
        proof = await scene.plant_session(self.person)
        await scene.gate(promised=True)
        return Landed(proof)

    async def heal(self, scene: Scene) -> str:
        """Nothing to undo: the system has to cope with it."""
        raise FaultDidNotLand(f"{self} has no heal ({scene})")


@dataclass(frozen=True)
class SessionEnded:
    """Somebody else ends this person's live session in the bridge, in mid-sentence, and goes away.

    ``LeaveRoom`` is what a client of before sends that is late; ``JoinRoom`` replaces the session by one that nobody
    listens to. The session's audio stream ends well, and its cloud has to come back for the audio by itself.
    """

    person: str
    by: Literal["LeaveRoom", "JoinRoom"] = "LeaveRoom"

    heals = False

    @property
    def target(self) -> str:
        return self.person

    @property
    def blast(self) -> tuple[str, ...]:
        return (self.person,)  # a bridge holds many sessions: whatever else suffers is harm

    def missing(self, scene: Scene) -> str | None:
        """There must be a bridge that has the session."""
        return None if scene.has("bridge") else "this system has no bridge"

    async def inject(self, scene: Scene) -> Landed:
        """Send the call; the proof is the answer, or that the bridge ended on it."""
        return Landed(await scene.end_session(self.person, self.by))

    async def heal(self, scene: Scene) -> str:
        """Nothing to undo: the system has to cope with it."""
        raise FaultDidNotLand(f"{self} has no heal ({scene})")


@dataclass(frozen=True)
class SecondStream:
    """While held, somebody else reads this person's live session by an audio stream of his own, and then goes away.

    Whether the bridge lets him in is the bridge's to say: refused is an answer, too. Nothing may be missing either way.
    """

    person: str

    heals = True

    @property
    def target(self) -> str:
        return self.person

    @property
    def blast(self) -> tuple[str, ...]:
        return (self.person,)

    def missing(self, scene: Scene) -> str | None:
        """There must be a bridge that has the session."""
        return None if scene.has("bridge") else "this system has no bridge"

    async def inject(self, scene: Scene) -> Landed:
        """Open it; the proof is that it brings audio, or the status that refused it."""
        return Landed(await scene.open_second_stream(self.person))

    async def heal(self, scene: Scene) -> str:
        """Break it off; the proof is what it had brought."""
        return await scene.close_second_stream(self.person)


@dataclass(frozen=True)
class OldStream:
    """Another cloud opens an audio stream on this person's session and stops to read, so that the bridge's send waits.

    It breaks when the next audio stream on ``link`` brings something: the session that replaced the old one's is there.
    To be struck ``When`` the cloud is about to take its session back.
    """

    person: str
    link: str = "cloud->bridge"

    heals = True

    @property
    def target(self) -> str:
        return self.person

    @property
    def blast(self) -> tuple[str, ...]:
        return (self.person,)

    def missing(self, scene: Scene) -> str | None:
        """There must be a bridge that has the session, and a link on which the new one's stream is seen."""
        return scene.why_no_link(self.link) if scene.has("bridge") else "this system has no bridge"

    async def inject(self, scene: Scene) -> Landed:
        """Open it; the proof is its full window."""
        proof = await scene.open_unread_stream(self.person)
        await scene.links.arm(self.link, reply("StreamAudio"), before=False, hold=False, label=LATER_STREAM)
        return Landed(proof)

    async def heal(self, scene: Scene) -> str:
        """Break it; the proof is that it was open, and that the new session's stream had begun.

        Raises:
            FaultDidNotLand: the old one ended before, or there was no new one.
        """
        try:
            await scene.links.fired(self.link, LATER_STREAM, within_s=TAKES_BACK_WITHIN_S)
        except StartFailed:
            await scene.break_unread_stream(self.person)
            raise FaultDidNotLand(f"nobody's new audio stream began within {TAKES_BACK_WITHIN_S:g} s") from None
        finally:
            await scene.links.disarm(self.link, LATER_STREAM)
        return f"{await scene.break_unread_stream(self.person)}; a newer one had begun"
