"""Faults of processes: kill, terminate, restart, pause, vanish. They hold for containers too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from harness.clock import now_ns
from harness.errors import FaultDidNotLand
from harness.faults.base import ComponentFault, Landed, Scene
from harness.runtimes import Killable, Pausable, Restartable, Running, Stoppable

GONE_WITHIN_S = 5.0
"""How long a politely stopped component has before SIGKILL, as ``docker stop`` does with its own grace."""


async def _kill(running: Running, signal: str, gone_within_s: float) -> str:
    if signal == "TERM":
        return await cast("Stoppable", running).stop(gone_within_s)
    return await cast("Killable", running).kill(signal)


async def _restart(running: Running) -> str:
    return await cast("Restartable", running).restart()


@dataclass(frozen=True)
class Kill(ComponentFault):
    """The component dies by a signal and stays dead."""

    signal: str = "KILL"

    heals = False

    def missing(self, scene: Scene) -> str | None:
        """It must be possible to kill the component."""
        return scene.why_not(self.component, Killable)

    async def inject(self, scene: Scene) -> Landed:
        """Send the signal to the whole tree; the proof is how it exited."""
        proof = await scene.take_down(self.component, lambda running: cast("Killable", running).kill(self.signal))
        return Landed(proof)

    async def heal(self, scene: Scene) -> str:
        """Nothing to undo."""
        raise FaultDidNotLand(f"{self} has no heal ({scene})")


@dataclass(frozen=True)
class Terminate(Kill):
    """The component is asked to end (SIGTERM) and stays down; a part that ignores it is not terminated."""

    signal: str = "TERM"

    def missing(self, scene: Scene) -> str | None:
        """It must be possible to ask the component to end."""
        return scene.why_not(self.component, Stoppable)


@dataclass(frozen=True)
class Down(ComponentFault):
    """The component is dead while the fault is held; healing starts it again."""

    signal: str = "KILL"
    """KILL, or TERM: asked first, killed when it does not end in time."""
    gone_within_s: float = field(default=GONE_WITHIN_S, kw_only=True, repr=False)
    """Until it is killed that was asked to end: Alive is broken then."""
    leaves_zombie: bool = field(default=False, kw_only=True, repr=False)
    """Whether the story takes it away in a moment that leaves its users' sessions in the bridge: the gate must see
    them before anybody may dial the next one, or nothing can be concluded."""

    heals = True

    def missing(self, scene: Scene) -> str | None:
        """It must be possible to end the component."""
        return scene.why_not(self.component, Stoppable if self.signal == "TERM" else Killable)

    async def inject(self, scene: Scene) -> Landed:
        """End it; the proof is how it exited."""
        return Landed(
            await scene.take_down(self.component, lambda running: _kill(running, self.signal, self.gone_within_s))
        )

    async def heal(self, scene: Scene) -> str:
        """Start it again; the proof is a new identity that is ready. A cloud passes the zombie gate first."""
        return await _back(scene, self.component, promised=self.leaves_zombie)


@dataclass(frozen=True)
class Restart(Down):
    """The component goes and comes back after ``away_s``: by SIGTERM as a supervisor would, or by a signal.

    Whoever can restart it in one go (``docker restart``, ``pm2 restart``) does so where nothing else is asked for.
    """

    signal: str = "TERM"
    away_s: float = 0.0

    def missing(self, scene: Scene) -> str | None:
        """It must be possible to restart the component, or to end it."""
        return None if self._in_one_go(scene) else super().missing(scene)

    async def inject(self, scene: Scene) -> Landed:
        """Restart or end it; the proof is that what ran is gone. Nobody reaches what comes until it is healed."""
        if not self._in_one_go(scene):
            return await super().inject(scene)
        return Landed(await scene.take_down(self.component, _restart, fronts_first=True))

    def _in_one_go(self, scene: Scene) -> bool:
        plain = self.signal == "TERM" and self.away_s == 0
        return plain and scene.why_not(self.component, Restartable) is None

    async def heal(self, scene: Scene) -> str:
        """Let the time away pass, then start it again."""
        if self.away_s:
            await scene.let_time_pass(self.away_s, f"{self.component} is away")
        return await _back(scene, self.component, promised=self.leaves_zombie)


@dataclass(frozen=True)
class Vanish(ComponentFault):
    """The component is gone as with its host: the peers on ``silent`` links see no FIN, no RST, just silence.

    The silent connections are no longer read and are held until the run ends. On the component's other links the
    peers see a reset. Where the cloud vanishes, its bridge keeps the session: the deterministic zombie.

    Named by a link (``Vanish("phone->cloud")``): its connections go silent, both ends live; new ones are taken as ever.
    """

    silent: tuple[str, ...] = ("cloud->bridge",)
    zombie: bool = field(default=True, repr=False)
    """Whether the bridge must still hold the session when the cloud is back."""
    gone_within_s: float = field(default=0.0, kw_only=True, repr=False)
    """Where it need not: so long its going is waited for before anybody may dial the next cloud; what is still there
    then is a zombie all the same."""

    heals = True

    @property
    def blast(self) -> tuple[str, ...]:
        return (self.component,) if self._is_link else (self.component, *self.silent)

    @property
    def _is_link(self) -> bool:
        return "->" in self.component

    def missing(self, scene: Scene) -> str | None:
        """It must be possible to kill the component, or there must be such a link."""
        if self._is_link:
            return scene.why_no_link(self.component)
        return scene.why_not(self.component, Killable)

    async def inject(self, scene: Scene) -> Landed:
        """Silence the links, kill the component, reset the rest; the proof names the held connections.

        Raises:
            FaultDidNotLand: named by a link that has no connection.
        """
        if self._is_link:
            count = await scene.links.silence(self.component)
            if not count:
                raise FaultDidNotLand(f"{self.component} had no connection to silence")
            return Landed(f"{self.component}: {count} connections gone silent")
        held = {name: await scene.links.silence(name) for name in self.silent}
        proof = await scene.take_down(self.component, lambda running: cast("Killable", running).kill("KILL"))
        for name in scene.links_of(self.component):
            if name not in self.silent:
                await scene.links.reset(name)
        silent = ", ".join(f"{count} on {name}" for name, count in held.items())
        return Landed(f"{proof}; connections gone silent: {silent}")

    async def heal(self, scene: Scene) -> str:
        """Start it again; the gate must have seen the zombie before anybody may dial it."""
        if self._is_link:
            return f"{self.component}: what is silent stays so until the run ends"
        promised = self.component == "cloud" and self.zombie
        return await _back(scene, self.component, promised=promised, gone_within_s=self.gone_within_s)


@dataclass(frozen=True)
class Pause(ComponentFault):
    """The component is stopped (SIGSTOP) while the fault is held; its sockets stay up."""

    heals = True

    def missing(self, scene: Scene) -> str | None:
        """It must be possible to pause the component."""
        return scene.why_not(self.component, Pausable)

    async def inject(self, scene: Scene) -> Landed:
        """Stop the whole tree; the proof is the state of its processes."""
        return Landed(await cast("Pausable", scene.running(self.component)).pause())

    async def heal(self, scene: Scene) -> str:
        """Let it run again."""
        return await cast("Pausable", scene.running(self.component)).resume()


async def _back(scene: Scene, component: str, *, promised: bool, gone_within_s: float = 0.0) -> str:
    async def gate() -> None:
        if component == "cloud" and scene.has("bridge"):
            await scene.gate(promised=promised, gone_within_s=gone_within_s)

    before = now_ns()
    proof = await scene.bring_up(component, before_fronts=gate)
    return f"{proof}, back after {(now_ns() - before) / 1e9:.2f} s"
