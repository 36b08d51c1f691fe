"""Conversations made by hand, byte by byte, for the tests of the readers."""

import json
import struct
import zlib

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
