"""The one polling function: wait for a reason, never for a time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from harness.clock import SECOND_NS, now_ns, seconds_between
from harness.errors import NotReached

T = TypeVar("T")


@dataclass(frozen=True)
class NotYet:
    """What a probe returns while its condition does not hold; the reason ends up in the error text."""

    reason: str


@overload
async def until(
    probe: Callable[[], Coroutine[Any, Any, T | NotYet]], *, what: str, within_s: float, every_s: float = 0.02
) -> T: ...


@overload
async def until(probe: Callable[[], T | NotYet], *, what: str, within_s: float, every_s: float = 0.02) -> T: ...


async def until(
    probe: Callable[[], T | NotYet] | Callable[[], Coroutine[Any, Any, T | NotYet]],
    *,
    what: str,
    within_s: float,
    every_s: float = 0.02,
) -> T:
    """Call ``probe`` until it gives a value and return that value.

    Raises:
        NotReached: ``within_s`` passed; carries the last NotYet's reason.
    """
    start_ns = now_ns()
    limit_ns = start_ns + int(within_s * SECOND_NS)
    reason = "never probed"
    while True:
        left_s = seconds_between(now_ns(), limit_ns)
        asked: Any = probe()
        got: T | NotYet
        if inspect.isawaitable(asked):
            try:
                got = await within(asked, max(left_s, every_s))
            except TimeoutError:
                raise NotReached(what, seconds_between(start_ns, now_ns()), f"{reason} (probe hung)") from None
        else:
            got = asked
        if not isinstance(got, NotYet):
            return got
        reason = got.reason
        if now_ns() >= limit_ns:
            raise NotReached(what, seconds_between(start_ns, now_ns()), reason)
        await asyncio.sleep(min(every_s, max(0.0, seconds_between(now_ns(), limit_ns))))


async def within(awaited: Awaitable[T], seconds: float | None) -> T:
    """Await for at most ``seconds`` and return the result.

    In place of asyncio's ``wait_for``, which in Python 3.11 loses a cancellation that comes together with the result:
    whoever was cancelled then goes on.

    Raises:
        TimeoutError: the time is up.
    """
    async with asyncio.timeout(seconds):
        return await awaited


async def pause(seconds: float, *, why: str) -> None:
    """Let time itself pass where the story means time (away for 2 s); ``why`` says so to the reader."""
    if not why:
        raise ValueError("a pause needs a reason")
    await asyncio.sleep(seconds)
