"""The parent's side of the links process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from harness.addresses import Address
from harness.control import Puppet
from harness.errors import FaultDidNotLand, MachineError
from harness.links.front import LinkState
from harness.links.hurting import Part, Waited, Ways
from harness.links.reading import Way
from harness.links.triggers import Act
from harness.moments import Moment


class Links:
    """All links of one run, in a process of their own (``links``), whose events are in ``events/links.jsonl``.

    A link is named ``dialer->target``. Addresses are (IPv4 address, port), or (path of a unix socket, 0). Asking for a
    link that was not opened raises ControlError.
    """

    def __init__(self, run: str, run_dir: Path) -> None:
        """Describe it; ``start`` spawns."""
        self._puppet = Puppet("harness.links", run=run, run_dir=run_dir, proc="links")
        self.seed = 0
        """Of all that is random in a link; the rig sets it to the run's."""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._puppet.pid

    @property
    def puppet(self) -> Puppet:
        """The process itself."""
        return self._puppet

    async def start(self) -> None:
        """Spawn the process."""
        await self._puppet.start()

    async def stop(self) -> None:
        """End the process, and every connection with it."""
        await self._puppet.stop()

    async def open(self, name: str, fronts: Sequence[Address], target: Address, *, reads: bool = True) -> None:
        """Listen at every one of ``fronts`` and relay to ``target``; ``reads``: readers read along.

        Raises:
            MachineError: a front is taken or cannot be bound; then none is listened at.
        """
        await self._ask("open", name, fronts=list(fronts), target=target, reads=reads)

    async def retarget(self, name: str, target: Address) -> None:
        """Dial ``target`` from the next connection on."""
        await self._ask("retarget", name, target=target)

    async def close_front(self, name: str) -> None:
        """Stop to listen: who dials is refused. Connections go on."""
        await self._ask("close_front", name)

    async def open_front(self, name: str) -> None:
        """Listen again at the same addresses.

        Raises:
            MachineError: somebody took one meanwhile.
        """
        await self._ask("open_front", name)

    async def silence(self, name: str) -> int:
        """Silence every connection open now, at both sides and until ``release``; return how many.

        Silent: neither read nor written nor closed any more, whatever the ends do, as with a host that lost its power.
        New connections are relayed as ever.
        """
        return int(await self._ask("silence", name))

    async def reset(self, name: str) -> int:
        """Reset both sides of every connection that is not silent; return how many."""
        return int(await self._ask("reset", name))

    async def release(self, name: str) -> int:
        """Reset the silent connections, at both sides; return how many."""
        return int(await self._ask("release", name))

    # -- moments of the protocol ---------------------------------------------------------------------------------------

    async def arm(
        self,
        name: str,
        moment: Moment,
        *,
        before: bool = True,
        hold: bool = True,
        act: Act = "tell",
        label: str = "",
        way: Way | None = None,
    ) -> int:
        """Wait for a moment on a link; return the trigger's number.

        ``before``: it comes before the message's first byte goes on, else behind its last. ``hold``: that direction of
        that connection stands still from there on, until :meth:`let_go` or :meth:`disarm`. ``act``: "tell" (once),
        "cut" (reset the connection, once) or "hang" (hold every time). ``label``: another name for who keeps no number.
        """
        how = {"before": before, "hold": hold, "act": act, "label": label, "way": way}
        return int(await self._ask("arm", name, moment=moment.fields(), **how))

    async def fired(self, name: str, number: int | str, *, within_s: float) -> dict[str, Any]:
        """Wait until a trigger has fired; return ``conn``, ``said``, ``way`` and ``t_ns``.

        Raises:
            StartFailed: the moment did not come within ``within_s``.
        """
        got = await self._puppet.ask("fired", within_s=within_s, name=name, number=number)
        return dict(got)

    async def let_go(self, name: str, number: int | str, *, drop: bool = False) -> int:
        """Let what a trigger holds go on (``drop``: reset it instead); return how many connections that were."""
        return int(await self._ask("let_go", name, number=number, drop=drop))

    async def disarm(self, name: str, number: int | str) -> tuple[int, int]:
        """Wait no more, and let go what is held; return how many such moments came, and how many it acted on."""
        got = await self._ask("disarm", name, number=number)
        return (int(got["seen"]), int(got["acted"])) if got else (0, 0)

    # -- faults --------------------------------------------------------------------------------------------------------

    async def hole(self, name: str, way: Ways) -> int:
        """Let nothing through in these directions, no end and no new dialer either; return how many are open."""
        return int(await self._ask("hole", name, way=way))

    async def close_hole(self, name: str, way: Ways) -> Waited:
        """Let everything go on; return what waited for it."""
        return Waited(**await self._ask("close_hole", name, way=way))

    async def stall(self, name: str, way: Ways) -> int:
        """Read nothing in these directions; return how many connections are open."""
        return int(await self._ask("stall", name, way=way))

    async def end_stall(self, name: str, way: Ways) -> Waited:
        """Read on; return what waited for it."""
        return Waited(**await self._ask("end_stall", name, way=way))

    async def delay(self, name: str, way: Ways, delay_ms: float, jitter_ms: float) -> int:
        """Let bytes and ends come so much later, in order; return how many connections are open."""
        values = {"delay_ms": delay_ms, "jitter_ms": jitter_ms}
        return int(await self._ask("shape", name, way=way, part="delay", values=values, seed=str(self.seed)))

    async def throttle(self, name: str, way: Ways, bytes_per_s: float) -> int:
        """Let no more bytes through than that, per connection and direction; return how many are open."""
        values = {"bytes_per_s": bytes_per_s}
        return int(await self._ask("shape", name, way=way, part="rate", values=values, seed=""))

    async def unshape(self, name: str, way: Ways, part: Part) -> int:
        """Delay or throttle no more; what is on its way goes on now. Return how many bytes have passed meanwhile."""
        return int(await self._ask("unshape", name, way=way, part=part))

    async def half_close(self, name: str, towards: Literal["target", "dialer"]) -> int:
        """Send a FIN to one end of every connection though the other sent none; return how many got it."""
        return int(await self._ask("half_close", name, towards=towards))

    async def cut_after(self, name: str, way: Way, count_bytes: int, *, within_s: float) -> int:
        """Reset the first connection that carries so many bytes from now on, behind the last; return its number.

        Raises:
            StartFailed: none did within ``within_s``; then none will.
        """
        try:
            got = await self._puppet.ask("cut_after", within_s=within_s, name=name, way=way, bytes=count_bytes)
        except BaseException:
            await self._ask("stop_counting", name)
            raise
        return int(_landed(got))

    async def state(self, name: str) -> LinkState:
        """Return counts of now."""
        return LinkState(**await self._ask("state", name))

    async def _ask(self, verb: str, name: str, **fields: Any) -> Any:
        got = await self._puppet.ask(verb, name=name, **fields)
        if isinstance(got, dict) and "machine_error" in got:
            raise MachineError(*got["machine_error"])
        return _landed(got)


def _landed(got: Any) -> Any:
    if isinstance(got, dict) and "did_not_land" in got:
        raise FaultDidNotLand(got["did_not_land"])
    return got
