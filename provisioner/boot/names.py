"""Names under which boot loaders ask for a machine's own configuration, by TFTP. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping

from provisioner.boot.script import Dialect
from provisioner.model.net import Mac, parse_mac

_MAC = r"01-([0-9a-f]{2}(?:-[0-9a-f]{2}){5})"  # the hardware type of Ethernet, and the address

_OWN: Mapping[re.Pattern[str], Dialect] = {
    # GRUB: the file beside its modules, of which distributions build the place in; some ask for the MAC's first
    re.compile(rf"(?:(?:boot/)?grub2?|debian-installer/[a-z0-9]+/grub|EFI/[A-Za-z]+)/grub\.cfg(?:-{_MAC})?"): (
        Dialect.GRUB_TFTP
    ),
    re.compile(rf"grub\.cfg(?:-{_MAC})?"): Dialect.GRUB_TFTP,
    # PXELINUX: UUID first, then the MAC, then the address in hexadecimal; the MAC's is answered
    re.compile(rf"pxelinux\.cfg/{_MAC}"): Dialect.PXELINUX,
}


def machine_file(name: str) -> tuple[Dialect, Mac | None] | None:
    """Say whether a name asks for a machine's configuration: in which dialect, and for which MAC where it tells."""
    for pattern, dialect in _OWN.items():
        if match := pattern.fullmatch(name):
            return dialect, parse_mac(match[1]) if match[1] else None
    return None
