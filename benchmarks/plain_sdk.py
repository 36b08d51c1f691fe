"""What the phones are measured against: a program of LiveKit's SDK alone that publishes the same packets.

Reads ``{"url", "tokens", "seconds"}`` from stdin and prints one JSON line, as a crowd of phones does.
"""

import asyncio
import json
import resource
import sys
import time

from livekit import rtc

PACKET, EVERY_S = bytes(1281), 0.04


async def publish(room: rtc.Room, first_s: float, packets: int) -> list[float]:
    """Publish on time; return how late each packet left, in ms."""
    late_ms = []
    for number in range(packets):
        due_s = first_s + number * EVERY_S
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        await room.local_participant.publish_data(PACKET, reliable=False)
        late_ms.append((time.monotonic() - due_s) * 1000)
    return late_ms


async def main() -> None:
    """Connect, publish, print, leave."""
    asked = json.loads(sys.stdin.readline())
    rooms = [rtc.Room() for _ in asked["tokens"]]
    for room, token in zip(rooms, asked["tokens"], strict=True):
        await room.connect(asked["url"], token, rtc.RoomOptions(auto_subscribe=False))
    before, first_s = resource.getrusage(resource.RUSAGE_SELF), time.monotonic() + 0.2
    packets = int(asked["seconds"] / EVERY_S)
    late_ms = await asyncio.gather(
        *(publish(room, first_s + EVERY_S * number / len(rooms), packets) for number, room in enumerate(rooms))
    )
    after = resource.getrusage(resource.RUSAGE_SELF)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told = {"late_ms": [ms for each in late_ms for ms in each], "processor_s": used_s, "rss_mb": after.ru_maxrss / 1e3}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    await asyncio.gather(*(room.disconnect() for room in rooms))


if __name__ == "__main__":
    asyncio.run(main())
