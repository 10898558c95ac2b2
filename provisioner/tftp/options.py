"""Which of a request's options are accepted, and at what value (RFC 2347, 2348, 2349, 7440). No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.tftp.packet import Options, Request

MIN_BLKSIZE, MAX_BLKSIZE = 8, 65464  # RFC 2348
MAX_WINDOWSIZE = 65535  # RFC 7440 section 3


@dataclass(frozen=True, slots=True)
class Limits:
    """What we grant at most, whatever is asked for."""

    mtu: int = 1500
    """Of the link: a block never exceeds what one unfragmented datagram carries, since boot ROMs do not reassemble."""
    windowsize: int = 64
    """64 blocks of 1468 octets are 94 kB in flight: one UDP segmentation call, and it fits a ROM's receive ring."""
    timeout_s: int = 30
    """Longer ones are not accepted: a client that vanished would keep its place for three of them."""


GRANTED = Limits()


@dataclass(frozen=True, slots=True)
class Agreed:
    """What a transfer runs with. `options` is what the OACK says; empty means no OACK, straight to the first block."""

    blksize: int = 512
    windowsize: int = 1
    timeout_s: float | None = None
    options: Options = ()


def negotiate(request: Request, size_bytes: int, limits: Limits, *, ip_header: int = 20) -> Agreed:
    """Accept the options that we know and that make sense; the others are left out, as RFC 2347 wants."""
    blksize, windowsize, timeout_s = 512, 1, None
    accepted: dict[str, str] = {}
    for name, value in request.options:
        number = _number(value)
        if number is None or name in accepted:
            continue
        match name:
            case "blksize" if number >= MIN_BLKSIZE:
                blksize = min(number, MAX_BLKSIZE, limits.mtu - ip_header - 12)  # 8 of UDP, 4 of TFTP
                accepted[name] = str(blksize)
            case "windowsize" if 1 <= number <= MAX_WINDOWSIZE:
                windowsize = min(number, limits.windowsize)
                accepted[name] = str(windowsize)
            case "timeout" if 1 <= number <= limits.timeout_s:
                timeout_s = float(number)
                accepted[name] = str(number)
            case "tsize":
                accepted[name] = str(size_bytes)
    return Agreed(blksize, windowsize, timeout_s, tuple(accepted.items()))


def _number(text: str) -> int | None:
    """Read a decimal number; None for anything else: 400 digits, signs, other scripts' digits."""
    return int(text) if len(text) <= 10 and text.isascii() and text.isdigit() else None
