"""What a machine and the daemon say to each other about chunks, as lines that a shell reads and writes. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from provisioner.boot.chunks import MAX_CHUNKS
from provisioner.boot.fanout import Done, Order, Outcome, Report, Wait
from provisioner.errors import WireError

FIRST_PORT = 1024  # a machine's own server runs above the ports of others' services
MAX_LINES = 4096
_PATH = re.compile(r"[A-Za-z0-9]{16,64}")
_NUMBER = re.compile(r"[0-9]{1,6}")
_SPAN = re.compile(r"([0-9]{1,6})-([0-9]{1,6})")


@dataclass(frozen=True, slots=True)
class Offer:
    """Where a machine serves its chunks, below a path that nobody can guess, and which it has already."""

    port: int
    path: str
    have: frozenset[int]

    def url(self, address: str) -> str:
        """The base of its chunks' URLs; the address is the one that we see, not one that it names."""
        return f"http://{f'[{address}]' if ':' in address else address}:{self.port}/{self.path}"


def read_offer(text: str) -> Offer:
    """Read `port N`, `path SECRET` and any number of `have FIRST-LAST`; raise `WireError`."""
    port, path, have, counted = 0, "", set[int](), 0
    for verb, words in _lines(text):
        match verb, words:
            case "port", [number]:
                port = _number(number)
            case "path", [secret] if _PATH.fullmatch(secret):
                path = secret
            case "have", [span] if (found := _SPAN.fullmatch(span)) is not None:
                chunks = _chunks(found[1], found[2])
                counted += len(chunks)
                if counted > MAX_CHUNKS:  # spans that overlap count again: a few lines must not cost seconds
                    raise WireError(f"an offer of more than {MAX_CHUNKS} chunks; name each chunk once")
                have.update(chunks)
            case _:
                raise WireError(f"a line of an offer that is not understood: {verb[:40]!r}")
    if not FIRST_PORT <= port <= 65535 or not path:
        raise WireError(f"an offer with port {port} and {'no' if not path else 'a'} path")
    return Offer(port, path, frozenset(have))


def read_report(text: str) -> Report:
    """Read `got|bad|lacks|gone INDEX`, `want LOW HIGH` and `dropped BELOW`; raise `WireError`."""
    outcomes: list[tuple[Outcome, int]] = []
    low, high, dropped = 0, None, 0
    for verb, words in _lines(text):
        match verb, words:
            case (("got" | "bad" | "lacks" | "gone"), [index]):
                outcomes.append((Outcome(verb), _number(index)))
            case "want", [first, end]:
                low, high = _number(first), _number(end)
            case "dropped", [below]:
                dropped = _number(below)
            case _:
                raise WireError(f"a line of a report that is not understood: {verb[:40]!r}")
    return Report(tuple(outcomes), low, high, dropped)


def write_answer(answer: tuple[Order, ...] | Wait | Done) -> str:
    """Write `get INDEX URL` (`-` for the origin), `wait SECONDS` or `done`."""
    match answer:
        case Wait(seconds):
            return f"wait {seconds:g}\n"
        case Done():
            return "done\n"
    return "".join(f"get {order.index} {_place(order)}\n" for order in answer)


def _place(order: Order) -> str:
    return f"{order.source}/{order.index}" if order.source else "-"


def _lines(text: str) -> list[tuple[str, list[str]]]:
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        raise WireError(f"{len(lines)} lines; at most {MAX_LINES} are read")
    parts = [line.split() for line in lines if line.strip()]
    return [(verb, words) for verb, *words in parts]


def _chunks(first: str, last: str) -> range:
    chunks = range(_number(first), _number(last) + 1)
    if not chunks:
        raise WireError(f"'have {first}-{last}' ends before it begins")
    return chunks


def _number(text: str) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > MAX_CHUNKS:
        raise WireError(f"{text[:40]!r} is no number of a chunk")
    return int(text)
