"""Asks a component's health endpoint four times a second, beside the links, and writes down what it says."""

from __future__ import annotations

import asyncio
import json

import aiohttp

from harness.clock import SECOND_NS, now_ns
from harness.events import HealthRead
from harness.history import Recorder

ASK_EVERY_S = 0.25
ANSWER_WITHIN_S = 1.0


def says_fine(status: int, body: str) -> bool:
    """Return whether a health answer claims that all is well: 200, status ok, nobody without audio or words."""
    if status != 200:
        return False
    try:
        answer = json.loads(body)
    except ValueError:
        return True
    if not isinstance(answer, dict):
        return True
    parts = [answer.get(part) for part in ("audio", "transcription")]
    unavailable = any(part.get("unavailable", 0) for part in parts if isinstance(part, dict))
    return answer.get("status", "ok") == "ok" and not unavailable


async def watch_health(recorder: Recorder, component: str, url: str) -> None:
    """Ask for ever; write each change of the answer and one line a second."""
    last: tuple[bool, bool] | None = None
    written_ns = 0
    timeout = aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        while True:
            try:
                async with session.get(url) as reply:
                    body = await reply.text()
                    answered, fine = True, says_fine(reply.status, body)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                answered, fine, body = False, False, type(error).__name__
            if (answered, fine) != last or now_ns() - written_ns >= SECOND_NS:
                last, written_ns = (answered, fine), now_ns()
                recorder.emit(HealthRead(component=component, answered=answered, says_fine=fine, answer=body[:300]))
            await asyncio.sleep(ASK_EVERY_S)
