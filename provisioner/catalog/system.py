"""The system that is to be: one vocabulary that every family's templates write in their own dialect. No I/O.

`describe` turns parameters and facts into the plain dict `system`; docs/templates.md lists its keys. What a bootenv's
installer cannot do (`supports` in its file) is a fault here, before any power is touched, never a silent difference:
tests/catalog/test_words.py changes every word for every bootenv.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from typing import Any

from provisioner.catalog import crypt, disks, nics, words
from provisioner.catalog.params import HIDDEN, Resolved
from provisioner.errors import RenderError
from provisioner.model.catalog import Bootenv
from provisioner.model.facts import Facts
from provisioner.model.net import Mac

IMAGE_SECTOR = 512
"""Whoever makes images of whole disks makes them for disks like that."""
TELLS_CHARS = 4
"""A text that has as many characters of a secret one after the other tells of it."""
LINKS = uuid.UUID("6f1e2f0e-5a0b-4f5e-9a44-7c1b8f3f2a10")
"""Namespace of the UUIDs that NetworkManager knows connections by."""

OWN = frozenset({"root", "bin", "daemon", "games", "lp", "mail", "nobody", "sshd", "sync"})
"""Accounts that systems of every family have from the start, which nobody is to log in to."""
_BASE_PASSWD = frozenset({"_apt", "backup", "irc", "list", "man", "news", "proxy", "sys", "uucp", "www-data"})
_SETUP = frozenset({"adm", "ftp", "halt", "operator", "shutdown"})
OWN_OF = {
    "debian": _BASE_PASSWD,
    "ubuntu": _BASE_PASSWD,
    "proxmox": _BASE_PASSWD,
    "redhat": _SETUP,
    "coreos": _SETUP,
}
"""And those of one family beside them: by Debian's package base-passwd, and by Red Hat's setup."""

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Secrets:
    """What references (`store:root-password`) stand for, for one rendering of files behind a ticket.

    `seed` was drawn with the ticket. Without one nothing secret is given: what a template asks for is not there.
    """

    seed: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    def value(self, reference: str) -> str:
        """Look a secret up; a failed look-up is an error, never an empty default (C-B9)."""
        if reference not in self.values:
            raise RenderError(
                f"secret {reference} is not known",
                hint="secrets come from catalogue.secrets_dir or catalogue.vault_address",
            )
        return self.values[reference]

    def hashed(self, reference: str | None, user: str) -> dict[str, str | crypt.Unhashed]:
        """Give `{"hash": ...}`: the secret as it is where it is a crypt hash, else to be hashed with this boot's salt.

        Empty text where the user has no password; no key at all where there is no ticket.
        """
        if not self.seed:
            return {}
        if not reference:
            return {"hash": ""}
        value = self.value(reference)
        return {"hash": value if crypt.is_hash(value) else crypt.Unhashed(value, crypt.salt_from(self.seed, user))}

    def unsaid(self, text: str) -> str:
        """Give a text without what these secrets are: an error quotes what it chokes on, and is logged."""
        if not self._tells(text):
            return text
        short = re.sub(r"(['\"]).*\1", HIDDEN, text, flags=re.DOTALL)
        return short if not self._tells(short) else "what a secret holds cannot be written there"

    def _tells(self, text: str) -> bool:
        for value in self.values.values():
            for form in (value, repr(value)[1:-1]):
                ends = range(min(TELLS_CHARS, len(form)), len(form) + 1)
                if any(form[max(0, end - TELLS_CHARS) : end] in text for end in ends):
                    return True
        return False


class TriedSecrets(Secrets):
    """Secrets to see whether they can be written where they go: what is hashed is not hashed for it."""

    def hashed(self, reference: str | None, user: str) -> dict[str, str | crypt.Unhashed]:
        """Give what has the form of this hash; hashing takes 10 ms, and can be written anywhere."""
        value = self.value(reference) if reference else ""
        return {"hash": value if not value or crypt.is_hash(value) else f"$6${'x' * 16}${'x' * 86}"}


def references(resolved: Resolved) -> list[str]:
    """List the secrets that one boot's files need, so that a shell can look them up beforehand."""
    accounts = resolved.values["users"]["accounts"]
    found = [*resolved.secrets.values(), *(account.get("password") for account in accounts)]
    return sorted({reference for reference in found if reference})


def describe(
    bootenv: Bootenv, name: str, facts: Facts, boot_mac: Mac, params: Params, secrets: Secrets
) -> dict[str, Any]:
    """Say what system is to be on this machine; raise `RenderError` where hardware or installer cannot give it."""
    layout = disks.plan(params["disk"], facts.disks, facts.firmware, bootenv.min_disk_bytes)
    disks.check_names(layout, params["disk"]["select"], facts.disks, by_serial=bool(bootenv.job))
    links = nics.plan(params["net"], facts.nics, boot_mac)
    _check_supported(bootenv, layout, links, params, facts.tpm)
    hostname = params["system"]["hostname"] or name
    domain = params["system"]["domain"] or ""
    return {
        "hostname": hostname,
        "domain": domain,
        "fqdn": f"{hostname}.{domain}" if domain else hostname,
        "locale": params["system"]["locale"],
        "keyboard": params["system"]["keyboard"],
        "timezone": params["time"]["zone"],
        "ntp": params["time"]["ntp"],
        "packages": params["packages"],
        "proxy": _proxy(params["proxy"]),
        "certificates": params["certificates"]["trusted"],
        "hooks": params["hooks"],
        "disk": _disk(layout, params, secrets),
        "net": _net(links, params["net"]),
        "users": [_account(account, secrets) for account in _told_apart(params["users"]["accounts"], bootenv.family)],
        "root": {"ssh_keys": params["users"]["root"]["ssh_keys"]}
        | secrets.hashed(params["users"]["root"]["password"], "root"),
        "ssh_passwords": params["ssh"]["passwords"],
        "consoles": params["kernel"]["consoles"],
        "serial": [_serial(console) for console in params["kernel"]["consoles"] if console.startswith("ttyS")],
        "kernel_args": params["kernel"]["args"],
    }


def _check_supported(
    bootenv: Bootenv, layout: disks.Layout, links: tuple[nics.Link, ...], params: Params, tpm: str
) -> None:
    can = bootenv.supports
    lacked = words.refused(can.lacks, params, links)
    faults = [f"{bootenv.name} cannot do {words.WORDS[word].param}" for word in lacked]
    wanted = {"static" for link in links if link.addresses}
    wanted |= {str(link.kind) for link in links if link.kind is not nics.LinkKind.ETHERNET}
    wanted |= {"routes" for link in links if link.routes} | {"mtu" for link in links if link.mtu}
    wanted |= {"on-link" for link in links if link.on_link}
    if sum(1 for link in links if link.dhcp or link.addresses) > 1:
        wanted.add("several")
    faults += [f"{bootenv.name} cannot do net: {word}" for word in sorted(wanted - set(can.network))]
    faults += [
        f"{bootenv.name} cannot do net.bonds: mode {link.mode}; it can do {', '.join(can.bonds)}"
        for link in links
        if link.mode and link.mode not in can.bonds
    ]
    if layout.name not in can.layouts:
        faults.append(f"{bootenv.name} cannot do disk.layout: {layout.name}; it can do {', '.join(can.layouts)}")
    pool = [word for word in words.POOL_WORDS if layout.zfs and word not in (*can.pool, *can.lacks)]
    faults += [
        f"{bootenv.name} cannot do {words.WORDS[word].param} with disk.layout: {layout.name}"
        for word in words.refused(pool, params, links)
    ]
    faults += _other_sectors(bootenv, layout)
    if layout.encryption != "none" and layout.encryption not in can.encryption:
        faults.append(f"{bootenv.name} cannot do disk.encryption: {layout.encryption}")
    if layout.encryption == "tpm" and tpm != "2.0":
        faults.append(f"disk.encryption: tpm wants a TPM 2.0; this machine has {tpm or 'none'}")
    if faults:
        spare = [word for word in lacked if word in words.DISPENSABLE]
        hint = f"where it may go without: system.without={spare}" if spare else ""
        raise RenderError(f"{len(faults)} thing(s) that this installer cannot do", faults=faults, hint=hint)


def _other_sectors(bootenv: Bootenv, layout: disks.Layout) -> list[str]:
    """Say which disks the image of a whole disk does not fit: its partition table counts in sectors."""
    if not any(files.image and ".tar" not in files.image for files in bootenv.arch.values()):
        return []
    return [
        f"{bootenv.name} is an image with sectors of {IMAGE_SECTOR} bytes; {disk.name} has {disk.sector_bytes}"
        for disk in layout.disks
        if disk.sector_bytes != IMAGE_SECTOR
    ]


def _serial(console: str) -> dict[str, int]:
    """Read `ttyS1,115200n8` for systems that count serial ports; without a speed it is the kernel's own, 9600 baud."""
    name, _, speed = console.partition(",")
    digits = "".join(takewhile(str.isdigit, speed))
    return {"number": int(name.removeprefix("ttyS")), "baud": int(digits or 9600)}


def _told_apart(accounts: Sequence[Mapping[str, Any]], family: str) -> Sequence[Mapping[str, Any]]:
    """Raise `RenderError` for accounts that installers would make one of, or that such systems have."""
    names = [account["name"] for account in accounts]
    own = OWN | OWN_OF.get(family, frozenset())
    for name in names:
        if name in own:
            hint = (
                "root's keys and password are users.root"
                if name == "root"
                else "such systems have an account of that name from the start"
            )
            raise RenderError(f"users.accounts: {name}: is no account to be made", hint=hint)
        if names.count(name) > 1:
            hint = "layers add up here: `provisionctl params MACHINE users.accounts --explain` shows which say it"
            raise RenderError(f"users.accounts: {name}: stands there more than once", hint=hint)
    return accounts


def _account(account: Mapping[str, Any], secrets: Secrets) -> dict[str, Any]:
    return {
        "name": account["name"],
        "full_name": account.get("full_name", ""),
        "groups": account.get("groups", []),
        "sudo": account.get("sudo", False),
        "shell": account.get("shell", "/bin/bash"),
        "ssh_keys": account.get("ssh_keys", []),
    } | secrets.hashed(account.get("password"), account["name"])


def _proxy(params: Params) -> dict[str, Any]:
    http = params["http"] or ""
    return {"http": http, "https": params["https"] or http, "except": params["except"]}


def _disk(layout: disks.Layout, params: Params, secrets: Secrets) -> dict[str, Any]:
    reference = params["disk"]["passphrase"]
    encrypted = layout.encryption != "none"
    if encrypted and not reference:
        raise RenderError("disk.encryption without disk.passphrase: nobody could ever open it")
    return {
        "layout": layout.name,
        "firmware": layout.firmware,
        "mirror": layout.mirror,
        "lvm": layout.lvm,
        "zfs": layout.zfs,
        "filesystem": params["disk"]["filesystem"],
        "encryption": layout.encryption,
        "encrypted": encrypted,
        "disks": [
            {
                "name": disk.name,
                "path": disk.path or f"/dev/{disk.name}",
                "by_path": disk.by_path,
                "size_mib": disk.size_bytes // disks.MIB,
                "model": disk.model,
                "serial": disk.serial,
                "wwn": disk.wwn,
                "holds": disk.holds,
            }
            for disk in layout.disks
        ],
        "partitions": [
            {
                "number": part.number,
                "role": str(part.role),
                "name": part.name,
                "size_mib": part.size_mib,
                "mount": part.volume.mount if part.volume else ("/boot/efi" if part.role is disks.Role.ESP else ""),
                "filesystem": part.volume.filesystem
                if part.volume
                else ("vfat" if part.role is disks.Role.ESP else ""),
                "array": part.array,
                "encrypted": part.encrypted,
            }
            for part in layout.partitions
        ],
        "volumes": [asdict(volume) for volume in layout.volumes],
    } | ({"passphrase": secrets.value(reference)} if encrypted and secrets.seed else {})


def _net(links: tuple[nics.Link, ...], params: Params) -> dict[str, Any]:
    first = nics.primary(links)
    shown = [_link(link, link is first) for link in links]
    return {
        "links": shown,
        "primary": next((each for each in shown if each["primary"]), None),
        "dns": params["dns"]["servers"],
        "dns4": [server for server in params["dns"]["servers"] if ":" not in server],
        "dns6": [server for server in params["dns"]["servers"] if ":" in server],
        "search": params["dns"]["search"],
    }


def _link(link: nics.Link, is_primary: bool) -> dict[str, Any]:
    return {
        "kind": str(link.kind),
        "name": link.name,
        "uuid": str(uuid.uuid5(LINKS, f"{link.mac} {link.name}")),
        "named": link.named,
        "mac": link.mac,
        "dhcp": link.dhcp,
        "addresses": [
            {
                "cidr": str(address),
                "ip": str(address.ip),
                "prefix": address.network.prefixlen,
                "netmask": str(address.netmask),
                "version": address.version,
            }
            for address in link.addresses
        ],
        "gateway": link.gateway,
        "mtu": link.mtu,
        "routes": [{"to": route.to, "via": route.via, "version": route.version} for route in link.routes],
        "members": list(link.members),
        "mode": link.mode,
        "lacp_rate": link.lacp_rate,
        "hash_policy": link.hash_policy,
        "vlan": link.vlan,
        "parent": link.parent,
        "bond": link.bond,
        "on_link": list(link.on_link),
        "primary": is_primary,
    }
