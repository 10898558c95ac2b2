"""What network boot adds to DHCP: options 43, 77, 93, 97 and 175 (RFC 4578, RFC 3004, PXE 2.1, iPXE). No I/O."""

from __future__ import annotations

from provisioner.errors import WireError
from provisioner.model.uuids import tells
from provisioner.wire import tlv, tlvs

PXE_CLIENT = b"PXEClient"
HTTP_CLIENT = b"HTTPClient"

IPXE_HTTP, IPXE_TFTP = 0x13, 0x15
"""Features in option 175."""
IPXE_NO_PXEDHCP = 0xB0
"""Setting "no-pxedhcp": do not wait for a proxyDHCP server (1 + 2 seconds)."""

NO_WAIT = tlv(IPXE_NO_PXEDHCP, b"\x01")

PXE_DISCOVERY_CONTROL = 6
BOOT_FILE_AS_NAMED = tlv(PXE_DISCOVERY_CONTROL, b"\x08") + b"\xff"
"""Option 43 for a ROM: do no boot server discovery, load the file that this packet names (PXE 2.1 section 2.4.5)."""


def user_classes(value: bytes) -> tuple[bytes, ...]:
    """Read option 77: a row of length-prefixed classes (RFC 3004), or bare text as iPXE and others send it."""
    found, at = [], 0
    while at < len(value):
        length = value[at]
        part = value[at + 1 : at + 1 + length]
        if not length or len(part) != length:
            return (value,)
        found.append(part)
        at += 1 + length
    return tuple(found)


def arch_of(value: bytes | None) -> int | None:
    """Read option 93: the first of one or more architectures (RFC 4578 section 2.1); None without or with nonsense."""
    return int.from_bytes(value[:2], "big") if value is not None and len(value) >= 2 and not len(value) % 2 else None


UUID_OCTETS = 17
"""Of option 97: its type, and a UUID."""


def uuid_of(value: bytes | None) -> str | None:
    """Read option 97 (type 0) as the UUID that Linux prints; None where there is none that identifies a machine.

    The wire carries SMBIOS byte order (first three fields little-endian). A few firmwares send them big-endian:
    where only that reading has a valid version (RFC 9562 section 4.2), it is taken.
    """
    if value is None or len(value) != UUID_OCTETS or value[0] != 0:
        return None
    found = smbios_uuid(value[1:])
    return found if tells(found) else None


def smbios_uuid(value: bytes) -> str:
    """Spell 16 bytes in SMBIOS order, or in network order where only that makes a valid UUID.

    By hand: the uuid module takes ten times as long, and this runs for every machine that boots.
    """
    if 1 <= value[7] >> 4 <= 8 or not 1 <= value[6] >> 4 <= 8:
        value = value[3::-1] + value[5:3:-1] + value[7:5:-1] + value[8:]  # its first three fields, in network order
    found = value.hex()
    return f"{found[:8]}-{found[8:12]}-{found[12:16]}-{found[16:20]}-{found[20:]}"


def ipxe_settings(value: bytes | None) -> dict[int, bytes]:
    """Read option 175's sub-options; nothing where they are malformed (the option is only a hint)."""
    if not value:
        return {}
    try:
        return dict(tlvs(value.rstrip(b"\xff")))
    except WireError:
        return {}
