"""dnsmasq.conf: dhcp-host and dhcp-range lines; files of dhcp-hostsfile, which hold the same (dnsmasq(8)). No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from provisioner.dhcp.foreign.found import (
    Contents,
    FoundRange,
    FoundReservation,
    FoundReservation6,
    clean_name,
    ends_of,
    key_in,
    key_of,
    octets,
)
from provisioner.dhcp.v6.duid import is_duid

KIND = "dnsmasq.conf"
HOSTS_KIND = "dnsmasq dhcp-hostsfile"
ELSEWHERE = ("conf-file", "conf-dir", "dhcp-hostsfile", "dhcp-hostsdir", "servers-file")
TAGS = (
    "dhcp-match",
    "dhcp-name-match",
    "dhcp-vendorclass",
    "dhcp-userclass",
    "dhcp-mac",
    "dhcp-circuitid",
    "dhcp-remoteid",
    "dhcp-subscrid",
    "dhcp-ignore",
    "tag-if",
)
"""What gives tags to clients, and what refuses them by tags."""
TAGGED = ("dhcp-option", "dhcp-option-force", "dhcp-boot", "pxe-service")
"""What is told to clients with a tag, where it names one."""
_CONDITION = re.compile(r"(?:[^,]*,)*?\s*(?:tag|net):")

_MAC = re.compile(r"(?:([0-9a-fA-F]{1,2})-)?([0-9a-fA-F*]{1,2}(?::[0-9a-fA-F*]{1,2}){2,19})")
_ADDRESS = re.compile(r"[0-9a-fA-F.: ]*")
"""What dnsmasq takes for the beginning of the addresses of a range; what stands before it is a tag."""
_TIME = re.compile(r"\d+[smhdw]?|infinite|deprecated")
_COMMENT = re.compile(r"(?:^|\s)#.*")


def read(data: bytes, where: str) -> Contents:
    """Read a configuration."""
    contents = Contents(where, KIND)
    for line, text in _lines(data):
        key, _, value = (part.strip() for part in text.partition("="))
        _take(contents, line, key, value)
    return contents


def read_hosts(data: bytes, where: str) -> Contents:
    """Read a file of hosts: each line is what stands behind `dhcp-host=`."""
    contents = Contents(where, HOSTS_KIND)
    for line, text in _lines(data):
        _take(contents, line, "dhcp-host", text)
    return contents


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    for line, text in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        if bare := _COMMENT.sub("", text).strip():
            yield line, bare


def _take(contents: Contents, line: int, key: str, value: str) -> None:
    try:
        if key == "dhcp-host":
            _host(contents, line, value)
        elif key == "dhcp-range":
            _range(contents, line, value)
            if _CONDITION.match(value):
                contents.note(line, f"the condition of dhcp-range={value[:100]} is left out: tags are not taken over")
        elif key in TAGS or (key in TAGGED and _CONDITION.match(value)):
            contents.note(line, f"{key}={value[:100]}: tags are not taken over, nor what is told by them")
        elif key in ELSEWHERE and value:
            contents.note(line, f"{key} {value[:200]}: import that, too")
        elif key == "read-ethers":
            contents.note(line, "read-ethers: fixed addresses of /etc/ethers are left out")
    except ValueError as error:
        contents.fault(line, str(error))


def _host(contents: Contents, line: int, value: str) -> None:
    keys: list[bytes] = []
    ip, name, client_id = 0, "", b""
    six: list[int] = []
    for part in (part.strip() for part in value.split(",")):
        if _says_nothing(contents, line, part):
            continue
        if part.startswith("id:"):
            client_id = _identifier(part[3:])
        elif part.startswith("["):
            six += _address6(contents, line, part)
        elif part == "ignore":
            contents.note(line, "ignore: a subnet's `unknown: ignore` says that of all machines that nobody enrolled")
            return
        elif match := _MAC.fullmatch(part):
            if "*" in part:
                contents.note(line, f"{part[:60]} is a pattern, and reservations are for one hardware address each")
                return
            keys.append(key_of(int(match[1] or "1", 16), octets(match[2].split(":"))))
        elif part.replace(".", "").isdecimal() and part.count(".") == 3:
            ip = int(IPv4Address(part))
        else:
            name = clean_name(part)
    _keep6(contents, line, six, (keys, client_id, name))
    if ip or not six:
        _keep(contents, line, keys or [key for key in [key_in(client_id)] if key], (ip, name))


def _says_nothing(contents: Contents, line: int, part: str) -> bool:
    """Say whether it is a tag, which says nothing by itself, or a lease time, which is left out."""
    if not _TIME.fullmatch(part):
        return not part or part.startswith(("set:", "tag:", "net:"))
    contents.note(line, f"the lease time {part} of a host is left out: `lease_s` of a subnet is for all")
    return True


def _address6(contents: Contents, line: int, part: str) -> list[int]:
    """Read `[fd00::5]`; of what is completed by an interface's own prefix nobody can say here what it comes to."""
    ip = int(IPv6Address(part.strip("[]"))) if "/" not in part else 0
    if not ip >> 64:
        contents.note(line, f"{part[:60]}: not one whole address, and is left out")
        return []
    return [ip]


def _keep6(contents: Contents, line: int, six: list[int], who: tuple[list[bytes], bytes, str]) -> None:
    keys, client_id, name = who
    where = contents.at(line)
    if six and not keys and not is_duid(client_id):
        contents.note(line, "dhcp-host with neither a hardware address nor a DUID")
    elif keys:  # with both, dnsmasq goes by either: the port is what we know machines by
        contents.reservations6 += [FoundReservation6(ip, where, key, b"", name) for ip in six for key in keys]
    else:
        contents.reservations6 += [FoundReservation6(ip, where, b"", client_id, name) for ip in six]


def _keep(contents: Contents, line: int, keys: list[bytes], what: tuple[int, str]) -> None:
    if not keys:
        contents.note(line, "dhcp-host without a hardware address, and machines are known by theirs")
    elif what == (0, ""):
        contents.note(line, "dhcp-host with neither an address nor a name")
    else:
        contents.reservations += [FoundReservation(what[0], key, contents.at(line), what[1]) for key in keys]


def _identifier(text: str) -> bytes:
    if text == "*":
        return b""
    return octets(text.split(":")) if ":" in text else text.encode("utf-8")


def _range(contents: Contents, line: int, value: str) -> None:
    parts = [part.strip() for part in value.split(",")]
    while len(parts) > 1 and not _ADDRESS.fullmatch(parts[0]):  # tags, with `set:` and `tag:` or bare, interfaces
        parts.pop(0)
    if parts and ":" in parts[0]:
        _range6(contents, line, parts)
        return
    if len(parts) < 2:
        raise ValueError("dhcp-range has two addresses")
    low = int(IPv4Address(parts[0]))
    if not parts[1].replace(".", "").isdecimal():
        contents.note(line, f"dhcp-range of mode {parts[1][:20]} gives no addresses")
        return
    high = int(IPv4Address(parts[1]))
    contents.ranges.append(FoundRange(min(low, high), max(low, high), contents.at(line)))


def _range6(contents: Contents, line: int, parts: list[str]) -> None:
    if (
        len(parts) < 2
        or ":" not in parts[1]
        or parts[1].startswith("constructor:")
        or not int(IPv6Address(parts[0])) >> 64
    ):
        contents.note(line, f"dhcp-range {parts[0][:60]} does not name both ends, and is left out")
        return
    low, high = ends_of(f"{parts[0]}-{parts[1]}")
    contents.ranges.append(FoundRange(low, high, contents.at(line), six=True))
