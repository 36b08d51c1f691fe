"""Which scenario catches which defects, by which guarantees exactly, and what is named as the cause: the one table.

The self-test plays each row once; ``proof/plan.toml`` says how often they are proven, and where.
"""

REFUSE = "bridge:refuse-existing-session"
KEEP = "bridge:keep-session-on-stream-error"
HIDE = "cloud:ack-hides-audio-failure"
BLIND = "cloud:no-getstatus"
NO_LEAVE = "cloud:rejoin-without-leave"
MUTE = "bridge:mute"
DEAF = ["bridge:deaf-after-gap", "cloud:no-gap-detector"]
FORGET, BEYOND = "cloud:forget-running-apps", "away-beyond-grace"
PANIC = "bridge:panic-on-late-packet"
LEAVES = "bridge:leave-on-signal-cut"
NO_NOTICE, NO_GAP = "bridge:no-kick-notice", "cloud:no-gap-detector"
NO_REJOIN = "cloud:no-rejoin"
PANICKED = "bridge-panic-closed-channel"
ZOMBIE, REFUSED = "zombie-first-connect", "join-refused-existing-session"
NO_IDENTITY, OLD_CLOSE = "cloud:close-without-identity", "old-close-disposes-live-session"
UNSEEN = {"Bounded loss", "Honest", "Clean"}
"""What breaks when captions came back, and the session then dies without a word while the phone's socket is open."""
SILENT = {"Resumes", "Bounded loss"}
"""What breaks when captions never come back, though somebody was told."""

CAUGHT: list[tuple[str, list[str], set[str], str | None]] = [
    ("force-quit-restart-cloud[vanish]", [REFUSE], SILENT, ZOMBIE),
    ("force-quit-restart-cloud[kill]", [REFUSE], set(), None),
    ("force-quit-restart-cloud[restart]", [REFUSE], set(), None),
    ("force-quit-restart-cloud[vanish]", [REFUSE, KEEP], SILENT, ZOMBIE),
    ("force-quit-restart-cloud[kill]", [REFUSE, KEEP], SILENT, ZOMBIE),
    ("force-quit-restart-cloud[restart]", [REFUSE, KEEP], SILENT, ZOMBIE),
    ("force-quit-restart-cloud[vanish]", [REFUSE, HIDE], SILENT | {"Honest"}, ZOMBIE),
    ("force-quit-restart-cloud[kill]", [REFUSE, KEEP, HIDE], SILENT | {"Honest"}, ZOMBIE),
    ("force-quit-restart-cloud[restart]", [REFUSE, KEEP, HIDE], SILENT | {"Honest"}, ZOMBIE),
    ("kill-cloud[vanish]", [REFUSE], SILENT, ZOMBIE),
    ("kill-cloud[kill]", [REFUSE], set(), None),
    ("kill-cloud[restart]", [REFUSE], set(), None),
    ("kill-cloud[kill]", [REFUSE, KEEP], SILENT, ZOMBIE),
    ("kill-cloud[restart]", [REFUSE, KEEP], SILENT, ZOMBIE),
    ("zombie-on-first-connection", [REFUSE], SILENT, ZOMBIE),
    ("reconnect-within-grace[1001-2s]", [REFUSE, NO_LEAVE], SILENT, REFUSED),
    ("reconnect-within-grace[1001-6s]", [REFUSE, NO_LEAVE], SILENT, REFUSED),
    ("reconnect-within-grace[1001-14s]", [REFUSE, NO_LEAVE], SILENT, REFUSED),
    ("reconnect-within-grace[1006-2s]", [REFUSE, NO_LEAVE], SILENT, REFUSED),
    ("reconnect-within-grace[1006-6s]", [REFUSE, NO_LEAVE], SILENT, REFUSED),
    ("reconnect-within-grace[1006-14s]", [REFUSE, NO_LEAVE, BLIND], SILENT, REFUSED),
    ("reconnect-within-grace[1006-2s]", [BLIND], set(), "getstatus-missing"),
    ("second-socket-34-ms-later[within-grace]", [NO_IDENTITY], UNSEEN, OLD_CLOSE),
    ("second-socket-34-ms-later[fresh-session]", [NO_IDENTITY], UNSEEN, OLD_CLOSE),
    (
        "second-socket-34-ms-later[fresh-session]",
        ["cloud:fresh-client-no-dispose"],
        {"Bounded loss"},
        "orphan-client-ping-pong",
    ),
    # A cloud that lets go of a client without leaving keeps its channel: nine more sockets after ten reconnects.
    ("ten-reconnects-in-thirty-seconds", [REFUSE, NO_LEAVE], SILENT | {"Clean"}, REFUSED),
    ("stt-drops", ["cloud:stt-no-recreate"], SILENT, "stt-close-not-recreated"),
    ("stt-down-at-subscribe", ["cloud:stt-subscribe-once"], SILENT | {"Honest"}, "stt-down-at-subscribe"),
    ("app-drops[crash]", ["cloud:ignore-app-close"], SILENT | {"Honest"}, "app-runs-but-deaf"),
    ("app-drops[cut]", ["cloud:ignore-app-close"], set(), None),
    ("app-down-while-phone-away", ["cloud:no-app-restart"], SILENT | {"Honest"}, "apps-not-restarted-on-reconnect"),
    ("force-quit-within-grace", ["cloud:no-mic-resync"], SILENT, "mic-state-lost-while-away"),
    ("phone-cannot-reach-its-room", ["phone:no-room-retry"], SILENT, "phone-fails-room-rejoin"),
    ("kill-bridge[4s]", ["cloud:one-shot-reconnect"], SILENT | {"Clean"}, "bridge-restart-slower-than-retry"),
    ("livekit-down-at-connect", ["cloud:no-join-retry"], SILENT | {"Clean"}, "sfu-down-at-join"),
    ("baseline", ["cloud:swap-endian"], {"Resumes", "Honest", "Intact"}, "pcm-byte-order"),
    ("baseline", [MUTE], {"Resumes"}, "silent-audio-gap"),
    ("pause-bridge", ["bridge:deaf-after-gap"], set(), None),
    ("pause-bridge", DEAF, SILENT, "silent-audio-gap"),
    ("pause-cloud", [REFUSE, NO_LEAVE], SILENT, REFUSED),
    ("pause-bridge", ["cloud:health-from-keepalive"], {"Honest"}, "stt-keepalive-false-health"),
    ("restart-livekit[5s]", DEAF, SILENT, "silent-audio-gap"),
    ("two-phones-one-user", ["phone:redial-when-replaced"], {"Resumes"}, "concurrent-join-self-kick"),
    ("phone-sleeps[20s]", [FORGET], SILENT | {"Honest"}, BEYOND),
    ("everything-restarts[phone-alive]", [FORGET], SILENT | {"Honest"}, BEYOND),
    ("phone-away-beyond-grace[1001]", [FORGET], SILENT | {"Honest"}, BEYOND),
    ("bridge-sigterm-with-stream-open", ["bridge:sigterm-waits"], {"Alive"}, "bridge-sigterm-hangs"),
    ("bridge-sigterm-with-stream-open", ["cloud:no-reconnect-on-end"], SILENT | {"Clean"}, "stream-end-not-retried"),
    ("neighbour-unharmed[leave]", [PANIC], SILENT | {"Alive", "Contained"}, PANICKED),
    ("neighbour-unharmed[replace]", [PANIC], SILENT | {"Alive", "Contained"}, PANICKED),
    ("cloud-vanishes-while-talking[large-window]", [REFUSE], SILENT, ZOMBIE),
    # By the bridge's send timeout the session is gone, unless it is kept.
    ("cloud-vanishes-while-talking[small-window]", [REFUSE], set(), None),
    ("cloud-vanishes-while-talking[small-window]", [REFUSE, KEEP], SILENT, ZOMBIE),
    # That the bridge breaks the stream is enough to bring the captions back: nobody need watch for silence.
    ("cloud-stalls-reading", [NO_GAP], set(), None),
    ("cloud-stalls-reading", [PANIC], SILENT | {"Alive", "Contained"}, PANICKED),
    (
        "old-stream-error-after-replacement",
        ["bridge:cleanup-by-user-id", "cloud:no-reconnect-on-end"],
        SILENT | {"Clean"},
        "old-stream-error-deletes-new-session",
    ),
    # A cloud that opens a stream that ended well again has its captions back.
    ("old-stream-error-after-replacement", ["bridge:cleanup-by-user-id"], set(), None),
    ("second-stream-on-one-session", ["bridge:shared-stream-queue"], {"Bounded loss"}, "two-streams-split-audio"),
    ("packet-loss-5-percent", ["bridge:drop-after-gap"], {"Bounded loss"}, "packet-loss-doubled"),
    ("corrupted-packet", ["bridge:keep-odd-byte"], SILENT | {"Honest", "Intact"}, "pcm-byte-order"),
    ("burst-after-silence", ["cloud:unbounded-backlog"], SILENT | {"Honest", "Timely"}, "captions-lag-after-burst"),
    ("wrong-byte-order", ["cloud:swap-endian"], SILENT | {"Honest", "Intact"}, "pcm-byte-order"),
    ("zombies-over-time[20]", ["bridge:leak-per-join"], {"Clean"}, "bridge-session-leak"),
    ("agent-kicked[duplicate-identity]", [NO_NOTICE], set(), None),
    ("agent-kicked[duplicate-identity]", [NO_NOTICE, NO_GAP], SILENT | {"Clean"}, "kicked-agent-unnoticed"),
    ("agent-kicked[removed]", [NO_NOTICE, NO_GAP], SILENT | {"Clean"}, "kicked-agent-unnoticed"),
    (
        "agent-kicked[duplicate-identity]",
        [NO_NOTICE, REFUSE, NO_LEAVE, "bridge:keep-session-when-kicked"],
        SILENT | {"Clean"},
        "refusal-kicked-stream-open",
    ),
    ("agent-kicked-by-other-environment[5s]", [NO_REJOIN], SILENT | {"Clean"}, "agent-kicked-by-other-environment"),
    ("agent-kicked-by-other-environment[59s]", [NO_REJOIN], SILENT | {"Clean"}, "agent-kicked-by-other-environment"),
    ("token-expired-after-sleep", ["phone:keep-old-token"], SILENT, "token-expired-after-sleep"),
    ("token-expired-after-sleep", ["cloud:no-grace-cleanup"], {"Clean"}, "token-expired-after-sleep"),
    ("signalling-cut-media-alive[bridge]", [LEAVES, NO_NOTICE, NO_GAP], SILENT | {"Clean"}, "silent-audio-gap"),
    ("signalling-refused-beyond-the-redials", ["phone:no-room-retry"], SILENT, "phone-fails-room-rejoin"),
    ("slow-signalling-at-join[3s]", ["cloud:no-join-retry"], SILENT, "sfu-down-at-join"),
    ("phone-half-open", ["cloud:no-pong-timeout"], {"Resumes"}, "phone-half-open"),
    ("late-close-of-old-socket", [NO_IDENTITY], UNSEEN, OLD_CLOSE),
    ("stt-stalls", ["cloud:unbounded-backlog"], {"Timely", "Bounded loss"}, "captions-lag-after-burst"),
    ("stt-closes-during-init", ["cloud:stt-init-hang"], SILENT, "stt-closes-during-init"),
    ("webhook-hangs", ["cloud:apps-before-ack"], SILENT | {"Honest"}, "ack-late-slow-webhook"),
    ("cloud-dies-in-joinroom[in-flight]", [REFUSE], SILENT, ZOMBIE),
    ("cloud-dies-in-joinroom[before-stream]", [REFUSE], SILENT, ZOMBIE),
    ("joinroom-hangs", ["cloud:no-rpc-deadline"], {"Honest"}, "join-hang-no-ack"),
    ("leaveroom-fails", [REFUSE], set(), None),
    ("leaveroom-fails", [REFUSE, "cloud:forget-failed-leave"], SILENT, "refusal-new-client-beside-session"),
    ("concurrent-joins[two-paths]", ["cloud:no-connecting-guard"], {"Bounded loss"}, "concurrent-join-self-kick"),
    ("concurrent-joins[two-calls]", ["bridge:join-race", NO_NOTICE, NO_GAP], SILENT | {"Clean"}, "join-not-atomic"),
    ("duplicate-connection-init", ["cloud:init-twice"], {"Bounded loss"}, "duplicate-connection-init"),
]
"""Scenario, defects, exactly the guarantees that must be BROKEN, and the incident named first (None: nothing found)."""


def _suite() -> list[tuple[str, list[str], set[str], str | None]]:
    found: dict[object, tuple[str, list[str], set[str], str | None]] = {}
    for row in CAUGHT:
        scenario, defects, _, incident = row
        found.setdefault((tuple(defects), incident), row)
        if incident is not None:
            found.setdefault(scenario.partition("[")[0], row)
    return [row for row in CAUGHT if any(row is one for one in found.values())]


SUITE = _suite()
"""What every pull request plays: each set of defects by its first row, and of each scenario one that turns it red. The
others are the same with another variant, and are proven with the rest (``proof/plan.toml``)."""
