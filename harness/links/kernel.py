"""What the kernel tells of a socket: what waits in it, what was not delivered, how wide its window is (Linux)."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import termios

_UNACKED_AT = 24
"""``struct tcp_info`` (linux/tcp.h): of a listener this is how many connections nobody has accepted yet."""
_RCV_WND_AT = 232
"""The window it last told its peer; from Linux 6.2 on."""


def undelivered_bytes(sock: socket.socket) -> int:
    """Return how many bytes were written to a socket that the other end's kernel does not have yet."""
    if sock.family == socket.AF_UNIX:
        return 0  # one kernel; what it counts there is what the other end has not read
    return _asked(sock, termios.TIOCOUTQ)


def waiting_bytes(sock: socket.socket) -> int:
    """Return how many bytes have come to a socket that nobody has read."""
    return _asked(sock, termios.FIONREAD)


def has_ended(sock: socket.socket) -> bool:
    """Tell whether the other end has sent its FIN or reset the connection, read or not."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))


def waiting_dialers(listener: socket.socket) -> int:
    """Return how many connections wait to be accepted (of a unix socket: 1 for any)."""
    if listener.family == socket.AF_UNIX:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        return len(poll.poll(0))
    return _tcp_info(listener, _UNACKED_AT) or 0


def is_window_closed(sock: socket.socket) -> bool | None:
    """Tell whether the sender was told to send nothing more; None where the kernel does not say."""
    if sock.family == socket.AF_UNIX:
        return None
    width = _tcp_info(sock, _RCV_WND_AT)
    return None if width is None else width == 0


def _asked(sock: socket.socket, what: int) -> int:
    count: int = struct.unpack("i", fcntl.ioctl(sock, what, bytes(4)))[0]
    return count


def _tcp_info(sock: socket.socket, offset: int) -> int | None:
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, offset + 4)
    if len(info) < offset + 4:
        return None
    value: int = struct.unpack_from("I", info, offset)[0]
    return value
