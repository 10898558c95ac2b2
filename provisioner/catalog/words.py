"""What of the vocabulary an installer may lack, and whether a machine asks for it. No I/O.

A bootenv lists what it lacks (`supports.lacks`). A machine that asks for such a word is refused before any power is
touched, unless `system.without` says that it may go without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provisioner.catalog.nics import Link, LinkKind

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Word:
    """One word: the parameter that says it, and whether these parameters and these links ask for it."""

    param: str
    asked: Callable[[Params, Sequence[Link]], Any]


DEFAULTS: Mapping[str, Any] = {
    "disk.filesystem": "ext4",
    "system.locale": "en_US.UTF-8",
    "system.keyboard": "us",
    "time.zone": "Etc/UTC",
}
"""What everybody has who does not ask for anything else: the defaults of bootenvs/params (a test compares)."""


def _changed(name: str) -> Word:
    group, _, key = name.partition(".")
    return Word(name, lambda params, _: params[group][key] != DEFAULTS[name])


def _on_btrfs(params: Params, _: Sequence[Link]) -> bool:
    disk = params["disk"]
    return "btrfs" in (disk["filesystem"], *(volume.get("filesystem") for volume in disk["volumes"]))


def _on_encrypted_mirror(params: Params, _: Sequence[Link]) -> bool:
    disk = params["disk"]
    return bool(disk["layout"].startswith("raid") and disk["encryption"] != "none")


def _of_ipv6(params: Params, links: Sequence[Link]) -> bool:
    texts = [*params["net"]["dns"]["servers"], *(link.gateway for link in links)]
    addresses = any(address.version == 6 for link in links for address in link.addresses)
    return (
        addresses
        or any(":" in text for text in texts)
        or any(route.version == 6 for link in links for route in link.routes)
    )


WORDS: Mapping[str, Word] = {
    "swap": Word("disk.swap", lambda params, _: params["disk"]["swap"].strip("0KMGTPiB. ")),
    "volumes": Word("disk.volumes", lambda params, _: params["disk"]["volumes"]),
    "root-size": Word("disk.root_size", lambda params, _: params["disk"]["root_size"]),
    "filesystem": _changed("disk.filesystem"),
    "btrfs": Word("disk.filesystem: btrfs", _on_btrfs),
    "encrypted-mirror": Word("disk.encryption: on a mirror", _on_encrypted_mirror),
    "packages": Word("packages.install", lambda params, _: params["packages"]["install"]),
    "package-removal": Word("packages.remove", lambda params, _: params["packages"]["remove"]),
    "users": Word("users.accounts", lambda params, _: params["users"]["accounts"]),
    "root-password": Word("users.root.password", lambda params, _: params["users"]["root"]["password"]),
    "ssh-keys": Word("users.root.ssh_keys", lambda params, _: params["users"]["root"]["ssh_keys"]),
    "ssh-passwords": Word("ssh.passwords", lambda params, _: params["ssh"]["passwords"]),
    "certificates": Word("certificates.trusted", lambda params, _: params["certificates"]["trusted"]),
    "proxy": Word("proxy.http, proxy.https", lambda params, _: params["proxy"]["http"] or params["proxy"]["https"]),
    "ntp": Word("time.ntp", lambda params, _: params["time"]["ntp"]),
    "zone": _changed("time.zone"),
    "locale": _changed("system.locale"),
    "keyboard": _changed("system.keyboard"),
    "kernel-args": Word("kernel.args", lambda params, _: params["kernel"]["args"]),
    "late-hooks": Word("hooks.late", lambda params, _: params["hooks"]["late"]),
    "first-boot-hooks": Word("hooks.first_boot", lambda params, _: params["hooks"]["first_boot"]),
    "port-names": Word(
        "net.interfaces: the name of a port",
        lambda _, links: any(link.named for link in links if link.kind is LinkKind.ETHERNET),
    ),
    "second-address": Word(
        "net: a second address on one link", lambda _, links: any(len(link.addresses) > 1 for link in links)
    ),
    "dhcp-and-static": Word(
        "net: DHCP and addresses on one link", lambda _, links: any(link.dhcp and link.addresses for link in links)
    ),
    "ipv6": Word("net: IPv6", _of_ipv6),
}
"""By the names that `supports.lacks` has for them."""

POOL_WORDS = ("swap", "root-size")
"""What some installers can be told beside a layout of ZFS (`supports.pool`), and others cannot."""

DISPENSABLE = tuple(name for name, word in WORDS.items() if ":" not in word.param)
"""What `system.without` may name: whole parameters. Of a part, nobody could say what comes in its place."""


def refused(lacks: Sequence[str], params: Params, links: Sequence[Link]) -> list[str]:
    """List the words that a machine asks for, that its installer lacks, and that it may not go without."""
    without = params["system"]["without"]
    return [word for word in lacks if word not in without and WORDS[word].asked(params, links)]
