"""The links process: ``python -m harness.links``, driven by :class:`harness.links.Links`."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import itertools
import resource
from collections.abc import Callable
from typing import Any

from harness.control import Child, LoopFactory, run_child
from harness.errors import FaultDidNotLand, MachineError
from harness.events import Note
from harness.links import hurting, readers  # noqa: F401  the readers' libraries load now, not while bytes wait
from harness.links.front import Front
from harness.links.tcp import ResetWatch
from harness.links.triggers import Trigger
from harness.moments import Moment


def raise_descriptor_limit() -> None:
    """Allow ourselves as many descriptors as the machine does: every connection takes two."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Verbs:
    """Answers the parent's requests; each is done when its answer leaves."""

    def __init__(self, child: Child) -> None:
        """Begin without links."""
        self._child = child
        self._resets = ResetWatch(asyncio.get_running_loop())
        self._fronts: dict[str, Front] = {}

    async def answer(self, request: dict[str, Any]) -> Any:
        """Do one request; a MachineError travels as its three parts, a fault that did not land as its sentence."""
        verb, name = request["verb"], request["name"]
        try:
            if verb == "open":
                return self._open(name, request)
            front = self._fronts.get(name)
            if front is None:
                raise KeyError(f"no link named {name!r}; there are {', '.join(sorted(self._fronts)) or 'none'}")
            if verb == "fired":
                return await self._fired(front, request["number"])
            if verb == "cut_after":
                return await hurting.cut_after(front, request)
            do = VERBS.get(verb)
            if do is None:
                raise ValueError(f"no verb {verb!r}; there are {', '.join(sorted(VERBS))}")
            return do(front, request)
        except MachineError as error:
            return {"machine_error": [error.expected, error.seen, error.mend]}
        except FaultDidNotLand as error:
            return {"did_not_land": str(error)}

    def _open(self, name: str, request: dict[str, Any]) -> None:
        if name in self._fronts:
            raise ValueError(f"link {name!r} is open already")
        front = Front(
            name, [(host, port) for host, port in request["fronts"]], _address(request["target"]),
            self._resets, self._child.recorder, reads=bool(request.get("reads", True)),
        )  # fmt: skip
        front.listen()
        self._fronts[name] = front

    async def _fired(self, front: Front, number: int | str) -> dict[str, Any]:
        trigger = front.triggers.get(number)
        if trigger is None:
            raise KeyError(f"no trigger {number} is armed on {front.name}")
        return await asyncio.shield(trigger.fired)


_numbers = itertools.count(1)


def _arm(front: Front, request: dict[str, Any]) -> int:
    number = next(_numbers)
    front.arm(
        Trigger(
            number, Moment.of(request["moment"]), before=bool(request["before"]), hold=bool(request["hold"]),
            act=request["act"], fired=asyncio.get_running_loop().create_future(), label=str(request.get("label", "")),
            way=request.get("way"),
        )
    )  # fmt: skip
    return number


def _disarm(front: Front, request: dict[str, Any]) -> dict[str, int] | None:
    trigger = front.disarm(request["number"])
    return {"seen": trigger.seen, "acted": trigger.acted} if trigger is not None else None


def _let_go(front: Front, request: dict[str, Any]) -> int:
    trigger = front.triggers.get(request["number"])
    return trigger.let_go(drop=bool(request["drop"])) if trigger is not None else 0


def _retarget(front: Front, request: dict[str, Any]) -> None:
    front.target = _address(request["target"])


VERBS: dict[str, Callable[[Front, dict[str, Any]], Any]] = {
    "retarget": _retarget,
    "close_front": lambda front, _: front.close(),
    "open_front": lambda front, _: front.listen(),
    "silence": lambda front, _: front.silence(),
    "reset": lambda front, _: front.reset(),
    "release": lambda front, _: front.release(),
    "state": lambda front, _: dataclasses.asdict(front.state()),
    "arm": _arm,
    "let_go": _let_go,
    "disarm": _disarm,
    **hurting.VERBS,
}
"""What can be asked of a link that is open, beside ``fired``, which waits."""


def _address(pair: list[Any]) -> tuple[str, int]:
    host, port = pair
    return str(host), int(port)


def fast_loop() -> tuple[LoopFactory | None, str]:
    """Return what makes the loop, and why it is only asyncio's own (empty: uvloop can be had)."""
    try:
        import uvloop  # noqa: PLC0415  not on every machine
    except ImportError as error:
        return None, f"links run on asyncio's own loop: {error}"
    return uvloop.new_event_loop, ""


async def main(child: Child) -> None:
    """Relay until the parent is gone."""
    _factory, why = fast_loop()
    if why:
        child.recorder.emit(Note(text=why))
    raise_descriptor_limit()
    gc.collect()
    gc.freeze()  # what the imports left is never garbage; walking it would hold up the relay for milliseconds
    await child.serve(Verbs(child).answer)


if __name__ == "__main__":
    run_child(main, fast_loop()[0])
