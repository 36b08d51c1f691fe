"""Conversations made by hand, byte by byte, for the tests of the readers."""

import json
import struct
import zlib

import hpack
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame, WindowUpdateFrame
from livekit.protocol import models, rtc

from harness.links.reading import Way
from harness.reference.proto import bridge_pb2 as pb

TO: Way = "to-target"
FROM: Way = "to-dialer"
MASK = b"\x01\x02\x03\x04"
KEY = "x-secret-token-x"


def frame(opcode, payload=b"", *, masked=False, last=True, deflated=False):
    """Return one WebSocket frame."""
    size = len(payload)
    head = bytes([(0x80 if last else 0) | (0x40 if deflated else 0) | opcode])
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", size)
    if not masked:
        return head + payload
    return head + MASK + bytes(b ^ MASK[i % 4] for i, b in enumerate(payload))


def text(fields, *, masked=False):
    """Return a JSON text frame."""
    return frame(1, json.dumps(fields).encode(), masked=masked)


def close(code, reason="", *, masked=False):
    """Return a close frame."""
    return frame(8, struct.pack("!H", code) + reason.encode(), masked=masked)


def upgrade(path="/glasses-ws?token=" + KEY):
    """Return a request for a WebSocket."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    ).encode()


SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
ACK = {"type": "connection_ack", "sessionId": "a", "livekit": {"url": "ws://x", "token": KEY}}


def deflated(payloads):
    """Return the payloads of deflated messages that lean on one another."""
    squeeze = zlib.compressobj(wbits=-15)
    return [(squeeze.compress(p) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4] for p in payloads]


def talk(reader, steps):
    """Feed a reader; return what it said, as (way, kind, name)."""
    return [(one.way, one.kind, one.name) for way, data in steps for one in reader.feed(way, data)]


def post(body=b"", kind="application/json", path="/webhook"):
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


PHONE: list[tuple[Way, bytes]] = [
    (TO, upgrade()),
    (FROM, SWITCHING),
    (FROM, text(ACK)),
    (TO, text({"type": "connection_init", "userId": "a", "coreToken": KEY}, masked=True)),
    (TO, frame(9, b"x", masked=True)),
    (FROM, frame(10, b"x")),
    (TO, frame(2, bytes(70_000), masked=True)),
    (FROM, text({"type": "display_event", "text": "hello"})),
    (FROM, text({"type": "audio_status", "status": "unavailable", "message": "no audio"})),
    (TO, frame(1, b'{"type":', masked=True, last=False)),
    (TO, frame(10, b"", masked=True)),
    (TO, frame(0, b'"VAD"}', masked=True)),
    (FROM, close(1001, "going away")),
]

WEB: list[tuple[Way, bytes]] = [
    (TO, post(b'{"type": "session_request", "apiKey": "x"}') + b"GET /health?token=abcdef HTTP/1.1\r\nHost: a\r\n\r\n"),
    (FROM, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 Oh\r\nContent-Type: application/json\r\n"),
    (
        FROM,
        b'Transfer-Encoding: chunked\r\n\r\n4;x=y\r\n{"ty\r\nc\r\npe": "error"\r\n1\r\n}\r\n0\r\nTrailer: 1\r\n\r\n',
    ),
    (FROM, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    (TO, b"HEAD /x HTTP/1.1\r\n\r\n\r\n\r\nGET /y HTTP/1.1\r\n\r\n"),
    (FROM, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
    (
        FROM,
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end HTTP/1.1 200 OK\r\n\r\n",
    ),
]


def signals():
    """Return a phone's signalling with LiveKit."""
    join = rtc.JoinResponse(room=models.Room(name="a"), participant=models.ParticipantInfo(identity="alice"))
    leave = rtc.LeaveRequest(reason=models.DUPLICATE_IDENTITY)
    asked = [rtc.SignalRequest(offer=rtc.SessionDescription(type="offer", sdp="v=0 " * 500)), rtc.SignalRequest(ping=7)]
    told = [rtc.SignalResponse(join=join), rtc.SignalResponse(leave=leave)]
    steps: list[tuple[Way, bytes]] = [(TO, upgrade("/rtc/v1?access_token=" + KEY)), (FROM, SWITCHING)]
    steps += [(FROM, frame(2, one.SerializeToString())) for one in told[:1]]
    steps += [(TO, frame(2, one.SerializeToString(), masked=True)) for one in asked]
    return [*steps, (FROM, frame(2, told[1].SerializeToString())), (FROM, close(1000))]


def squeezed():
    """Return a conversation in deflated messages."""
    said = deflated([json.dumps({"type": "data_stream", "n": n}).encode() for n in range(4)])
    steps: list[tuple[Way, bytes]] = [(TO, upgrade("/app-ws")), (FROM, SWITCHING)]
    return steps + [(FROM, frame(1, one, deflated=True)) for one in said]


def calls():
    """Return a cloud's gRPC with a bridge: JoinRoom, then a stream of audio."""
    pack = {TO: hpack.Encoder(), FROM: hpack.Encoder()}

    def head(way, stream, *pairs, last=False):
        flags = ["END_HEADERS", "END_STREAM"] if last else ["END_HEADERS"]
        return way, HeadersFrame(stream, pack[way].encode(list(pairs)), flags=flags).serialize()

    def data(way, stream, message):
        body = message.SerializeToString()
        return way, DataFrame(stream, b"\0" + len(body).to_bytes(4, "big") + body).serialize()

    path = "/mentra.livekit.bridge.LiveKitBridge/"
    steps: list[tuple[Way, bytes]] = [
        (TO, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame().serialize()),
        (FROM, SettingsFrame().serialize()),
        head(TO, 1, (":method", "POST"), (":path", path + "JoinRoom"), ("content-type", "application/grpc")),
        data(TO, 1, pb.JoinRoomRequest(user_id="alice", token=KEY)),
        head(FROM, 1, (":status", "200"), ("content-type", "application/grpc")),
        data(FROM, 1, pb.JoinRoomResponse(success=True)),
        head(FROM, 1, ("grpc-status", "0"), last=True),
        head(TO, 3, (":method", "POST"), (":path", path + "StreamAudio"), ("content-type", "application/grpc")),
        data(TO, 3, pb.AudioChunk(user_id="alice")),
        head(FROM, 3, (":status", "200")),
        *[data(FROM, 3, pb.AudioChunk(pcm_data=bytes([n]) * 1280)) for n in range(5)],
        (TO, WindowUpdateFrame(0, window_increment=6400).serialize()),
        head(FROM, 3, ("grpc-status", "14"), ("grpc-message", "gone"), last=True),
    ]
    return steps
