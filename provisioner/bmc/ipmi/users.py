"""Users and LAN settings of a BMC as bytes and values (IPMI 2.0 sections 22.26 to 22.30 and 23). No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.errors import BmcUnsupported, WireError
from provisioner.model.board import Account, BmcNetwork, Role

NETFN_TRANSPORT = 0x0C
SET_USER_ACCESS, GET_USER_ACCESS = 0x43, 0x44
SET_USER_NAME, GET_USER_NAME, SET_USER_PASSWORD = 0x45, 0x46, 0x47
SET_LAN, GET_LAN = 0x01, 0x02
THIS_CHANNEL = 0x0E

MAX_NAME = 16
MAX_PASSWORD = 20
"""IPMI 2.0 keeps twenty octets; a longer password would be cut off by some boards and refused by others."""

_DISABLE, _ENABLE, _SET, _TEST = 0, 1, 2, 3
_LONG = 0x80

LIMITS = {Role.ADMINISTRATOR: 4, Role.OPERATOR: 3, Role.READ_ONLY: 2, Role.NONE: 0x0F}
_ROLES = {number: role for role, number in LIMITS.items()}

ADDRESS, SOURCE, MAC, MASK, GATEWAY, VLAN = 3, 4, 5, 6, 12, 20
"""Parameters of table 23-4."""

_STATIC, _DHCP = 1, 2


@dataclass(frozen=True, slots=True)
class Access:
    """What Get User Access says (table 22-32)."""

    slots: int
    enabled: bool
    role: Role


def read_access(data: bytes) -> Access:
    """Read one user's access."""
    if len(data) < 4:
        raise WireError(f"user access has {len(data)} of 4 bytes")
    enabled = data[1] >> 6 != 2  # 0 is "unspecified": boards before IPMI 2.0 errata 3 do not tell
    return Access(data[0] & 0x3F, enabled, _ROLES.get(data[3] & 0x0F, Role.NONE))


def read_name(data: bytes) -> str:
    """Read a user's name: sixteen octets, filled up with zero."""
    return data[:MAX_NAME].split(b"\0")[0].decode("latin-1")


def access_bytes(slot: int, role: Role) -> bytes:
    """Write Set User Access: IPMI messaging and link authentication on, limited to the role."""
    on = 0xB0 if role is not Role.NONE else 0x80
    return bytes((on | THIS_CHANNEL, slot, LIMITS[role], 0))


def name_bytes(slot: int, name: str) -> bytes:
    """Write Set User Name."""
    octets = name.encode()
    if len(octets) > MAX_NAME:
        raise BmcUnsupported(f"user name {name!r} is longer than the {MAX_NAME} octets that IPMI keeps")
    return bytes((slot,)) + octets.ljust(MAX_NAME, b"\0")


def password_bytes(slot: int, password: str, *, test: bool = False) -> bytes:
    """Write Set User Password, or the form of it that only compares."""
    octets = password.encode()
    if len(octets) > MAX_PASSWORD:
        raise BmcUnsupported(f"the password has {len(octets)} octets; IPMI keeps {MAX_PASSWORD}")
    return bytes((slot | _LONG, _TEST if test else _SET)) + octets.ljust(MAX_PASSWORD, b"\0")


def switch_bytes(slot: int, *, enabled: bool) -> bytes:
    """Write Set User Password in the form that lets a user in or keeps him out."""
    return bytes((slot, _ENABLE if enabled else _DISABLE))


def account(slot: int, name: str, access: Access) -> Account:
    """Put together what two answers say of a user."""
    return Account(str(slot), name, access.role, access.enabled and access.role is not Role.NONE)


def read_network(parameters: dict[int, bytes]) -> BmcNetwork:
    """Put together the LAN parameters that the board answered."""
    source = parameters.get(SOURCE, b"")
    vlan = int.from_bytes(parameters.get(VLAN, b"")[:2], "little")
    mask = parameters.get(MASK, b"")
    return BmcNetwork(
        mac=parameters.get(MAC, b"")[:6].hex(":"),
        dhcp=source[0] & 0x0F == _DHCP if source else None,
        address=dotted(parameters.get(ADDRESS, b"")),
        prefix=int.from_bytes(mask[:4], "big").bit_count(),
        gateway=dotted(parameters.get(GATEWAY, b"")),
        vlan=vlan & 0x0FFF if vlan & 0x8000 else None,
    )


def network_changes(held: BmcNetwork, wanted: BmcNetwork) -> list[tuple[int, bytes]]:
    """List the parameters to set, address and VLAN last: with them the connection may go."""
    if wanted.hostname or wanted.dns:
        raise BmcUnsupported("IPMI cannot set a BMC's name or name servers", hint="use Redfish")
    changes: list[tuple[int, bytes]] = []
    if wanted.dhcp is not None and wanted.dhcp is not held.dhcp:
        changes.append((SOURCE, bytes((_DHCP if wanted.dhcp else _STATIC,))))
    if wanted.prefix and wanted.prefix != held.prefix:
        changes.append((MASK, ((0xFFFFFFFF << (32 - wanted.prefix)) & 0xFFFFFFFF).to_bytes(4, "big")))
    if wanted.gateway and wanted.gateway != held.gateway:
        changes.append((GATEWAY, octets(wanted.gateway)))
    if wanted.address and wanted.address != held.address:
        changes.append((ADDRESS, octets(wanted.address)))
    if wanted.vlan is not None and wanted.vlan != (held.vlan or 0):
        changes.append((VLAN, (wanted.vlan | (0x8000 if wanted.vlan else 0)).to_bytes(2, "little")))
    return changes


def dotted(address: bytes) -> str:
    """Spell an IPv4 address; empty where there is none."""
    return ".".join(str(octet) for octet in address[:4]) if len(address) >= 4 and any(address[:4]) else ""


def octets(address: str) -> bytes:
    """Read an IPv4 address."""
    parts = address.split(".")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) < 256 for part in parts):
        raise BmcUnsupported(f"{address!r} is no IPv4 address; IPMI sets no other")
    return bytes(int(part) for part in parts)
