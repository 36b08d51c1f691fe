"""What every process of ours may note: its own lag, remarks, damaged PCM, a deaf ear, its end."""

from __future__ import annotations

from harness.events.base import Event


class Lag(Event, frozen=True, tag="lag"):
    """The event loop of ``proc`` was late by this much (written from 100 ms on)."""

    lag_ms: float


class AddressGone(Event, frozen=True, tag="address-gone"):
    """This machine lost an address while the story ran; media that went by it is cut without a word."""

    address: str


class Note(Event, frozen=True, tag="note"):
    """Something worth a line; never judged."""

    text: str


class Damaged(Event, frozen=True, tag="damaged"):
    """PCM at ``hop`` that is not bit-exact: ``what`` is swapped, slipped, corrupt, cut or stray."""

    hop: str
    what: str
    count: int
    near_index: int = -1


class EarDeaf(Event, frozen=True, tag="ear-deaf"):
    """An ear of ours cannot hear at ``hop``; silence there is not blamed on anybody."""

    hop: str
    reason: str


class EarHearing(Event, frozen=True, tag="ear-hearing"):
    """An ear of ours hears again at ``hop``."""

    hop: str


class OursExited(Event, frozen=True, tag="ours-exited"):
    """A process of ours ended though nobody asked it to: what it would have heard or said is missing."""

    process: str
    exit_text: str
