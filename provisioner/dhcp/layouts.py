"""Reads packets that differ only in what is the one machine's own, which those of one firmware do, by one look. No I/O.

Where the options lie is worked out for the first of them, and so is what kind of client that is. Whether another packet
is laid out alike is one comparison of all its octets but the machine's own, and takes a third of the time of a walk.
"""

from __future__ import annotations

from collections.abc import Callable

from provisioner.dhcp.identify import Kind
from provisioner.dhcp.options import END, PAD, Opt
from provisioner.dhcp.packet import HEADER_SIZE, MAGIC, OPTIONS_AT, Packet, assemble, decode

OWN = frozenset(
    {Opt.HOST_NAME, Opt.REQUESTED_ADDRESS, Opt.SERVER_ID, Opt.CLIENT_ID, Opt.FQDN, Opt.RELAY_AGENT, Opt.CLIENT_UUID}
)
"""Options that differ from machine to machine, or from packet to packet: a kind of client follows from none of them."""
LAYOUTS_LIMIT = 1024
"""Layouts remembered, 2 KB each; a site has tens, made-up ones must not grow us."""
TRIED_EVERY = 8
"""Of packets that are not laid out as the last one of their size and type, every so many is remembered instead: clients
that differ in more than is known here cost little more than without."""
_KEY, _BEHIND_HEADER = slice(HEADER_SIZE, OPTIONS_AT + 3), slice(HEADER_SIZE, None)
_number = int.from_bytes


class Layout:
    """How packets of one kind of client are laid out."""

    __slots__ = ("fixed", "kind", "mask", "own", "type", "value")

    def __init__(self, data: bytes, packet: Packet, kind: Kind, own: tuple[tuple[int, int, int], ...]) -> None:
        mask = bytearray(b"\xff" * (len(data) - HEADER_SIZE))
        for _, begin, end in own:
            mask[begin - HEADER_SIZE : end - HEADER_SIZE] = bytes(end - begin)
        self.mask = int.from_bytes(mask, "little")
        self.value = int.from_bytes(data[HEADER_SIZE:], "little") & self.mask
        self.own = tuple((code, slice(begin, end)) for code, begin, end in own)
        """Options that are the machine's own: code, and where the value lies."""
        self.fixed = {code: value for code, value in packet.options.items() if code not in OWN}
        self.type = packet.type
        self.kind = kind


class Reader:
    """Reads packets; remembers layouts. `kind_of` says what kind of client a packet is of."""

    def __init__(self, kind_of: Callable[[Packet], Kind]) -> None:
        self._kind_of = kind_of
        self._layouts: dict[tuple[int, bytes], Layout] = {}
        self._missed = 0

    def read(self, data: bytes) -> tuple[Packet, Kind]:
        """Read one message and say what kind of client sent it; raise `WireError`."""
        layout = self._layouts.get((len(data), data[_KEY]))
        if layout is not None and _number(data[_BEHIND_HEADER], "little") & layout.mask == layout.value:
            options = layout.fixed.copy()
            for code, place in layout.own:
                options[code] = data[place]
            return assemble(data, layout.type, options), layout.kind
        packet = decode(data)
        kind = self._kind_of(packet)
        if layout is None or not self._missed % TRIED_EVERY:
            self._remember(data, packet, kind)
        self._missed += layout is not None
        return packet, kind

    def _remember(self, data: bytes, packet: Packet, kind: Kind) -> None:
        own = own_of(data)
        if own is None:
            return
        if len(self._layouts) >= LAYOUTS_LIMIT:
            self._layouts.clear()
        self._layouts[len(data), data[_KEY]] = Layout(data, packet, kind, own)


def own_of(data: bytes) -> tuple[tuple[int, int, int], ...] | None:
    """Say where the machine's own options lie in a message that was read; None where that is not so simple.

    It is not where an option comes in parts, or goes on in other fields (RFC 3396), or where there are none.
    """
    found: dict[int, tuple[int, int, int]] = {}
    seen: set[int] = set()
    at = OPTIONS_AT if data[HEADER_SIZE:OPTIONS_AT] == MAGIC else len(data)  # plain BOOTP has none
    while at < len(data) and data[at] != END:
        code = data[at]
        if code == PAD:
            at += 1
            continue
        begin, end = at + 2, at + 2 + data[at + 1]
        if code in seen or code == Opt.OVERLOAD:
            return None
        seen.add(code)
        if code in OWN:
            found[code] = code, begin, end
        at = end
    return tuple(found.values()) if seen else None
