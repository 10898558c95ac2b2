"""The options of a reply: which, in which order, and what to do when they do not fit. No I/O.

Most machines of a rack ask for the same list on the same firmware, so the bytes between the header and what is the
machine's own are made once and kept (`Net.blocks`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from provisioner.dhcp.boot import Boot
from provisioner.dhcp.formats import BOOT, BOOT_FILE
from provisioner.dhcp.identify import Kind
from provisioner.dhcp.options import Opt, encode_option, encode_options
from provisioner.dhcp.packet import HEADER_SIZE, MAGIC, OPTIONS_AT
from provisioner.dhcp.pxe import BOOT_FILE_AS_NAMED, NO_WAIT, PXE_CLIENT
from provisioner.model.boot import Arch, Asker

SNAME_ROOM, FILE_ROOM = 63, 127
"""Bytes for options in `sname` and `file`, beside END."""
_OVERLOAD_SIZE, _END_SIZE = 3, 1
_FIXED_SIZE = 3 + 6 + 6 + 2
"""Message type, server identifier, lease time, rapid commit: always in the main field."""

ORDER_WITHOUT_LIST = (
    Opt.SUBNET_MASK,
    Opt.CLASSLESS_ROUTES,
    Opt.ROUTER,
    Opt.DNS,
    Opt.HOST_NAME,
    Opt.DOMAIN_NAME,
    Opt.BROADCAST,
    Opt.NTP,
)
"""What a client gets that sends no request list."""


class Block(NamedTuple):
    """A reply's options but for those that name the one machine; the host name goes between the two halves."""

    file: bytes
    before: bytes
    after: bytes


class Terms(NamedTuple):
    """What the options of a reply follow from, beside the subnet. Compared in a microsecond: kinds by identity."""

    type: int
    us: int
    kind: Kind
    boot: Boot
    lease_s: int
    """0: no address is given, and no times."""
    proxy: bool
    """Boot information only."""
    named: bool
    """Keep a place for the machine's host name."""
    special: int
    """`Known.serial` of a machine with options of its own."""


def compose(terms: Terms, options: Mapping[int, bytes]) -> Block:
    """Lay out a reply. `options` is what the subnet and the machine offer."""
    chosen = _chosen(terms, options)
    codes = [code for code, _ in chosen]
    cut = codes.index(Opt.HOST_NAME) if terms.named and Opt.HOST_NAME in codes else len(chosen)
    before = MAGIC + encode_options(_fixed(terms)) + encode_options(chosen[:cut])
    after = encode_options(chosen[cut + 1 :])
    return Block(_file_field(terms), before, after)


def _fixed(terms: Terms) -> list[tuple[int, bytes]]:
    """What every reply of this type carries, first (RFC 2131 table 3)."""
    if not terms.type:  # plain BOOTP
        return []
    found = [(Opt.MESSAGE_TYPE, bytes((terms.type,))), (Opt.SERVER_ID, terms.us.to_bytes(4, "big"))]
    if terms.lease_s:
        found.append((Opt.LEASE_TIME, terms.lease_s.to_bytes(4, "big")))
    return found


def _chosen(terms: Terms, options: Mapping[int, bytes]) -> list[tuple[int, bytes]]:
    """Pick options in the client's order; what firmware needs comes even where it is not asked for.

    What boots hears from settings neither server nor file, and nothing at all of booting where it is to boot nothing of
    ours: that is for the plan to say. A system may have such options; telephones read them.
    """
    offered = dict(options) if not terms.proxy else {}
    if terms.kind.asker is not Asker.OS:
        for code in BOOT_FILE if terms.boot.name else BOOT:
            offered.pop(code, None)
    if terms.lease_s:
        offered[Opt.RENEWAL_TIME] = (terms.lease_s // 2).to_bytes(4, "big")
        offered[Opt.REBINDING_TIME] = (terms.lease_s * 7 // 8).to_bytes(4, "big")
    if terms.named:
        offered[Opt.HOST_NAME] = b""
    needed = _needed(terms, offered)
    offered |= needed
    wanted = ORDER_WITHOUT_LIST if terms.kind.wanted is None else terms.kind.wanted
    order = dict.fromkeys((*wanted, *needed))
    if Opt.SUBNET_MASK in order:  # RFC 2132 section 3.3: before the routers
        order = {Opt.SUBNET_MASK: None} | order
    return [(code, offered[code]) for code in order if code in offered]


def _needed(terms: Terms, offered: Mapping[int, bytes]) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    boot = terms.boot
    if Opt.SUBNET_MASK in offered and terms.lease_s:
        found[Opt.SUBNET_MASK] = offered[Opt.SUBNET_MASK]
    if boot.vendor_class or terms.proxy:
        found[Opt.VENDOR_CLASS] = boot.vendor_class or PXE_CLIENT
    if terms.proxy and boot.name and terms.kind.asker is Asker.PXE and terms.kind.arch == Arch.X86_BIOS:
        found[Opt.VENDOR_INFO] = BOOT_FILE_AS_NAMED
    if boot.name and (_asks(terms, Opt.BOOT_FILE) or not _file_field(terms)):
        found[Opt.BOOT_FILE] = boot.name
    if boot.name and not boot.vendor_class and _asks(terms, Opt.TFTP_SERVER):
        found[Opt.TFTP_SERVER] = ".".join(str(part) for part in boot.siaddr.to_bytes(4, "big")).encode("ascii")
    if terms.kind.asker in (Asker.IPXE, Asker.IPXE_TFTP) and not terms.proxy:
        found[Opt.IPXE] = NO_WAIT
    return found


def _asks(terms: Terms, code: int) -> bool:
    return terms.kind.wanted is None or code in terms.kind.wanted


def _file_field(terms: Terms) -> bytes:
    """The name in the header, where it fits. HTTP firmware reads the option only."""
    name = terms.boot.name
    return name if len(name) <= FILE_ROOM and not terms.boot.vendor_class else b""


def fit(block: Block, name: bytes, echo: bytes, room: int) -> tuple[bytes, bytes, bytes]:
    """Join a block with the machine's own options: (sname, file, options without END), within `room` bytes.

    What does not fit goes into unused header fields (option overload, RFC 2132 section 9.3); what fits nowhere is
    left out from the end of the client's list, never the fixed options. `echo` stays as long as it fits beside those.
    """
    file, before, after = block
    options = before + encode_option(Opt.HOST_NAME, name) + after if name else before + after
    if HEADER_SIZE + len(options) + len(echo) < room:
        return b"", file, options + echo
    return _overload(
        block, options, _that_fits(echo, room - OPTIONS_AT - _END_SIZE - _OVERLOAD_SIZE - _FIXED_SIZE), room
    )


def _that_fits(echo: bytes, room: int) -> bytes:
    """Leave out what is too much, the first first: an identifier before relay information, and each option whole.

    A relay that misses its information finds the client's port by other means, if at all; a reply that is longer than
    the client takes reaches nobody (RFC 3046 section 2.2 says to leave it out).
    """
    kept = b""
    for code, part in reversed(_split(echo)):
        if code == Opt.RAPID_COMMIT or len(kept) + len(part) <= room:
            kept = part + kept
    return kept


def _overload(block: Block, options: bytes, echo: bytes, room: int) -> tuple[bytes, bytes, bytes]:
    parts = _split(options[len(MAGIC) :])
    main_room = room - OPTIONS_AT - len(echo) - _END_SIZE - _OVERLOAD_SIZE
    main: list[bytes] = []
    file: list[bytes] = []
    sname: list[bytes] = []
    places = [(main, main_room), *([] if block.file else [(file, FILE_ROOM)]), (sname, SNAME_ROOM)]
    full: set[int] = set()
    for code, part in parts:
        if code in full:
            continue  # a part of a long option without the others means something else
        for place, limit in places:
            if sum(map(len, place)) + len(part) <= limit:
                place.append(part)
                break
        else:
            full.add(code)
    used = (1 if file else 0) | (2 if sname else 0)
    flag = encode_option(Opt.OVERLOAD, bytes((used,))) if used else b""
    fields = [b"".join(field) + b"\xff" if field else b"" for field in (sname, file)]
    return fields[0], fields[1] or block.file, MAGIC + flag + b"".join(main) + echo


def _split(options: bytes) -> list[tuple[int, bytes]]:
    """Cut encoded options at their borders; parts of one long option stay together."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(options):
        stop = at + 2 + options[at + 1]
        if found and found[-1][0] == options[at]:
            found[-1] = (options[at], found[-1][1] + options[at:stop])
        else:
            found.append((options[at], options[at:stop]))
        at = stop
    return found
