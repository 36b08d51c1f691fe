"""How long ``aftershock check`` takes for a history of a million events and ten million frames, and how much memory.

Prints one JSON line. The history is a soak: ten people talk for hours, one socket drops once at half time, logs and
health answers go on beside it. It is written with the project's own encoders and judged by the command as a user would.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from harness import events as ev
from harness.checkers import always, bounded_loss, honest, resumes, timely
from harness.frames import FRAME, MAGIC, Flag, Hop
from harness.speech import UTTERANCE_FRAMES, UTTERANCE_WORDS, word_text

PEOPLE = 10
EVENTS, FRAMES = (int(given) for given in sys.argv[1:3] or (1_000_000, 10_000_000))
WAY = {Hop.PHONE_OUT: 1, Hop.SFU: 5, Hop.CLOUD_IN: 20, Hop.STT_IN: 30}
"""Hop -> how many ms after the frame was spoken it is heard there."""
PER_FRAME = len(WAY) + 1  # and one more record at phone-out: when it was sent
INDICES = FRAMES // PEOPLE // PER_FRAME
START_NS, MS = 1_000_000_000_000, 1_000_000
DROPPED, BACK = INDICES // 2, INDICES // 2 + 100
"""Frames of alice in between are lost."""
USERS = tuple(f"p{n}@example.com" for n in range(PEOPLE))


def spoken_ns(index: int) -> int:
    """Return when a frame was spoken."""
    return START_NS + (index + 1) * 20 * MS


def frames(run_dir: Path) -> None:
    """Write the frames of phones and ears, each file in order of time."""
    (run_dir / "frames").mkdir()
    index = np.arange(INDICES, dtype=np.uint32)
    for name, hops in (("phone-1", [Hop.PHONE_OUT]), ("ears", [h for h in WAY if h is not Hop.PHONE_OUT])):
        parts = []
        for speaker in range(1, PEOPLE + 1):
            for hop in hops:
                heard = index[(index < DROPPED) | (index >= BACK)] if speaker == 1 and hop > 1 else index
                for flag, late_ms in ((Flag.NONE, WAY[hop]), (Flag.SENT, 2))[: 2 if hop == Hop.PHONE_OUT else 1]:
                    rows = np.zeros(len(heard), FRAME)
                    rows["t_ns"] = START_NS + (heard.astype("u8") + 1) * 20 * MS + late_ms * MS
                    rows["index"], rows["speaker"], rows["hop"], rows["flags"] = heard, speaker, int(hop), int(flag)
                    parts.append(rows)
        all_rows = np.concatenate(parts)
        with (run_dir / "frames" / f"{name}.bin").open("wb") as file:
            file.write(MAGIC)
            file.write(all_rows[np.argsort(all_rows["t_ns"], kind="stable")].tobytes())


def captions() -> Iterator[tuple[int, ev.Event]]:
    """Give each utterance's finals, at three hops, of all people."""
    for utterance in range(INDICES // UTTERANCE_FRAMES):
        begin = utterance * UTTERANCE_FRAMES
        end_ns = spoken_ns(begin + UTTERANCE_FRAMES - 10)
        words = tuple(range(utterance * UTTERANCE_WORDS, (utterance + 1) * UTTERANCE_WORDS))
        for speaker in range(1, PEOPLE + 1):
            if speaker == 1 and begin < BACK and begin + UTTERANCE_FRAMES > DROPPED:
                continue
            text = " ".join(word_text(speaker, word) for word in words)
            for late_ms, hop in ((100, "stt-out"), (110, "app-in"), (400, "phone-display")):
                yield end_ns + late_ms * MS, ev.Caption(hop=hop, speaker=speaker, words=words, final=True, text=text)


def story() -> Iterator[tuple[int, str, ev.Event]]:
    """Give what the rig and the phones wrote down, with the process that did."""
    end, fault, healed = spoken_ns(INDICES), spoken_ns(DROPPED), spoken_ns(BACK)
    yield START_NS - 900 * MS, "rig", ev.RunStarted(
        scenario="soak", seed=0, profile="short", system="reference", epoch_ns=START_NS, timers={"grace_s": 8.0},
        alarm=("panic:", "Traceback"),
    )  # fmt: skip
    for part in ("livekit", "bridge", "cloud"):
        yield START_NS - 800 * MS, "rig", ev.ComponentStarted(component=part, identity=f"pid {part}")
        yield START_NS - 700 * MS, "rig", ev.ComponentReady(component=part, took_s=0.1)
    yield START_NS - 600 * MS, "rig", ev.StackReady(took_s=0.3)
    for number, user in enumerate(USERS, 1):
        person = user.partition("@")[0]
        yield START_NS - 500 * MS, "phone-1", ev.PhoneDialing(person=person, attempt=1)
        yield START_NS - 400 * MS, "phone-1", ev.PhoneSocketOpen(person=person, attempt=1)
        yield START_NS - 10 * MS, "phone-1", ev.Talking(person=person, speaker=number, on=True, first_index=0)
    yield spoken_ns(500), "rig", ev.SteadyReached(for_s=3, since_ns=spoken_ns(100))
    yield fault, "rig", ev.Injecting(number=1, fault="SocketDropped(p0)", target="p0", blast=("p0",), held=True)
    yield fault + MS, "rig", ev.Injected(number=1, fault="SocketDropped(p0)", proof="dropped")
    yield healed - 2 * MS, "rig", ev.Healing(number=1)
    yield healed - MS, "rig", ev.Healed(number=1, fault="SocketDropped(p0)", proof="socket open")
    yield healed - MS, "phone-1", ev.PhoneSocketOpen(person="p0", attempt=1)
    yield healed, "rig", ev.Anchor(person="p0", name="socket open", moment_ns=healed - MS)
    again = spoken_ns((BACK // UTTERANCE_FRAMES + 1) * UTTERANCE_FRAMES)
    yield again + 2000 * MS, "rig", ev.SteadyAgain(person="p0", moment_ns=again)
    yield end, "rig", ev.StoppedTalking()
    yield end + 500 * MS, "rig", ev.Drained(quiet=True, took_s=0.5)
    yield (
        end + 600 * MS,
        "rig",
        ev.BridgeRead(why="end", answered=True, active_sessions=PEOPLE, connected=dict.fromkeys(USERS, True)),
    )
    for user in USERS:
        yield end + 600 * MS, "rig", ev.RoomRead(why="end", room=user, participants=(user, f"cloud-agent:{user}"))
    yield end + 600 * MS, "rig", ev.Connected(users=USERS)
    yield end + 900 * MS, "rig", ev.RunEnded(took_s=(end - START_NS) / 1e9)
    checks = (resumes(6), honest(), bounded_loss(0, 8_000), timely(5), *always)
    yield end + 950 * MS, "rig", ev.Declared(checks=checks, steady=True)


def events(run_dir: Path) -> int:
    """Write a million events: the story, the captions, and log lines and health answers for the rest; return them."""
    told = [(t_ns, proc, event) for t_ns, proc, event in story()]
    told += [(t_ns, "ears", event) for t_ns, event in captions()]
    left, length_ns = EVENTS - len(told), INDICES * 20 * MS
    for number in range(left):
        t_ns = START_NS + length_ns * number // left
        if number % 50:
            text = f"DEBUG Received audio chunks from gRPC bridge count={number} userId={USERS[number % PEOPLE]}"
            told.append((t_ns, "rig", ev.LogLine(component="cloud", line=number + 1, text=text)))
        else:
            told.append((t_ns, "rig", ev.HealthRead(component="cloud", answered=True, says_fine=True, answer="ok")))
    (run_dir / "events").mkdir()
    written: dict[str, list[tuple[int, ev.Event]]] = {}
    for t_ns, proc, event in told:
        written.setdefault(proc, []).append((t_ns, event))
    for proc, its in written.items():
        its.sort(key=lambda one: one[0])
        with (run_dir / "events" / f"{proc}.jsonl").open("wb") as file:
            for t_ns, event in its:
                file.write(ev.encode(msgspec.structs.replace(event, t_ns=t_ns, run="bench", proc=proc)))
    return len(told)


def main() -> None:
    """Write the history, judge it in a process of its own, and print."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder)
        frames(run_dir)
        count = events(run_dir)
        begun_s = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "harness", "check", str(run_dir)], capture_output=True, text=True, check=False
        )
        took_s = time.perf_counter() - begun_s
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            sys.exit(f"expected a history that holds; check exited {done.returncode}:\n{done.stdout}{done.stderr}")
        size = sum(path.stat().st_size for path in run_dir.glob("*/*"))
    result = {
        "benchmark": "check",
        "events": count,
        "frames": FRAMES - 100 * (len(WAY) - 1),
        "history_mb": round(size / 1e6),
        "check_s": round(took_s, 2),
        "processor_s": round(used.ru_utime + used.ru_stime, 2),
        "peak_memory_gb": round(used.ru_maxrss / 1e6, 2),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
