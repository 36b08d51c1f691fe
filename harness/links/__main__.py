"""The links process: ``python -m harness.links``, driven by :class:`harness.links.Links`."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import resource
from typing import Any

from harness.control import Child, run_child
from harness.errors import MachineError
from harness.links.front import Front
from harness.links.tcp import ResetWatch


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
        """Do one request; a MachineError travels as its three parts."""
        verb, name = request["verb"], request["name"]
        try:
            if verb == "open":
                return self._open(name, request)
            front = self._fronts.get(name)
            if front is None:
                raise KeyError(f"no link named {name!r}; there are {', '.join(sorted(self._fronts)) or 'none'}")
            return self._act(verb, front, request)
        except MachineError as error:
            return {"machine_error": [error.expected, error.seen, error.mend]}

    def _open(self, name: str, request: dict[str, Any]) -> None:
        if name in self._fronts:
            raise ValueError(f"link {name!r} is open already")
        front = Front(
            name, [(host, port) for host, port in request["fronts"]], _address(request["target"]),
            self._resets, self._child.recorder.emit,
        )  # fmt: skip
        front.listen()
        self._fronts[name] = front

    def _act(self, verb: str, front: Front, request: dict[str, Any]) -> Any:
        match verb:
            case "retarget":
                front.target = _address(request["target"])
            case "close_front":
                front.close()
            case "open_front":
                front.listen()
            case "silence":
                return front.silence()
            case "reset":
                return front.reset()
            case "release":
                return front.release()
            case "state":
                return dataclasses.asdict(front.state())
            case _:
                raise ValueError(f"no verb {verb!r}")
        return None


def _address(pair: list[Any]) -> tuple[str, int]:
    host, port = pair
    return str(host), int(port)


async def main(child: Child) -> None:
    """Relay until the parent is gone."""
    raise_descriptor_limit()
    gc.collect()
    gc.freeze()  # what the imports left is never garbage; walking it would hold up the relay for milliseconds
    await child.serve(Verbs(child).answer)


if __name__ == "__main__":
    run_child(main)
