"""Every word of the vocabulary means something for every system: it changes a file, or it is refused by its name.

A word that is neither is a silent difference: somebody asks for it, and the machine comes up without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from provisioner.catalog import proving
from provisioner.catalog.context import MADE
from provisioner.catalog.disks import COUNTS
from provisioner.catalog.fleet import CERTIFICATE, FLEET, KEY, NVME, PORTS, SITE, Sample, facts, sata
from provisioner.catalog.load import shipped
from provisioner.catalog.params import Layer
from provisioner.catalog.words import DEFAULTS, DISPENSABLE, WORDS
from provisioner.errors import RenderError
from provisioner.model.catalog import Param
from provisioner.model.facts import Facts
from provisioner.model.machine import Machine, State
from tests.catalog.golden import groups
from tests.shipped import catalogue

PARAMS = catalogue().content.params
VOCABULARY = {
    name: param
    for name, param in PARAMS.items()
    if param.source in ("disk.yaml", "kernel.yaml", "net.yaml", "system.yaml")
}
MACHINE = Machine(
    "m-17",
    "node17",
    State.READY,
    macs=tuple(nic.mac for nic in PORTS),
    profile="p",
    facts=facts("uefi", (sata("a"), sata("b"), replace(NVME, holds="")), PORTS, tpm="2.0"),
)
LAN = {"match": {"boot": True}, "addresses": ["10.1.0.17/24"], "gateway": "10.1.0.1"}
DHCP = {"match": {"boot": True}}
BOND = {"name": "bond0", "match": {"driver": "ixgbe"}}
WAITS = BOND | {"mode": "active-backup"}
VLAN = {"id": 42, "link": "nic0"}
OTHER = {"match": {"min_speed": 10_000}}
NO_DHCP = DHCP | {"dhcp": False}
VOLUME = {"name": "data", "mount": "/data", "size": "10GiB"}
TMUX = {"packages.install": ["tmux"]}
PROXY = {"proxy.http": "http://p.example.org:3128"}
ENCRYPTED = {"disk.encryption": "passphrase", "disk.passphrase": "store:disk"}
TPM = {"disk.encryption": "tpm", "disk.passphrase": "store:disk"}
ROUTE4 = {"to": "10.9.0.0/16", "via": "10.1.0.2"}
ROUTE6 = {"to": "fd01::/48", "via": "fd00::2"}


@dataclass(frozen=True, slots=True)
class Case:
    """A word, and two sets of parameters that differ by it alone."""

    word: str
    changed: Mapping[str, Any]
    base: Mapping[str, Any] = field(default_factory=dict)


def plain(word: str, value: Any, **base: Any) -> Case:
    """A word beside the defaults, or beside `base` (`__` for a dot)."""
    around = {name.replace("__", "."): given for name, given in base.items()}
    return Case(word, around | {word: value}, around)


def ports(changed: Any, base: Any = DHCP) -> Case:
    return Case("net.interfaces", {"net.interfaces": [changed]}, {"net.interfaces": [base]})


def bonds(changed: Any, base: Any = BOND) -> Case:
    alone = {"net.interfaces": []}
    return Case("net.bonds", alone | {"net.bonds": [changed]}, alone | {"net.bonds": [base]})


def vlans(changed: Any, base: Any = VLAN) -> Case:
    alone = {"net.interfaces": [NO_DHCP]}
    return Case("net.vlans", alone | {"net.vlans": [changed]}, alone | {"net.vlans": [base]})


def account(**more: Any) -> Case:
    return Case("users.accounts", {"users.accounts": [{"name": "ann"} | more]}, {"users.accounts": [{"name": "ann"}]})


def volume(**more: Any) -> Case:
    return Case("disk.volumes", {"disk.volumes": [VOLUME | more]}, {"disk.volumes": [VOLUME]})


CASES: dict[str, Case] = {
    **{
        f"layout {name}": Case("disk.layout", {"disk.layout": name}, {"disk.layout": "plain"})
        for name in COUNTS
        if name != "plain"
    },
    "disks of a mirror": plain("disk.count", 3, disk__layout="zfs-mirror"),
    "disks of a plain layout": plain("disk.count", 2),
    "size of a pool": plain("disk.root_size", "20GiB", disk__layout="zfs"),
    "swap beside a pool": plain("disk.swap", "2GiB", disk__layout="zfs"),
    **{
        f"disk by {next(iter(wish))}": plain("disk.select", wish)
        for wish in (
            {"transport": "nvme"},
            {"path": "*-ata-2.0"},
            {"model": "NV*"},
            {"serial": "S2"},
            {"wwn": "eui*"},
            {"min_size": "500GB"},
            {"order": "largest"},
        )
    },
    "disk by largest size": Case(
        "disk.select", {"disk.select": {"order": "largest", "max_size": "500GB"}}, {"disk.select": {"order": "largest"}}
    ),
    "disk that turns": plain("disk.select", {"rotational": True}),
    "file system XFS": plain("disk.filesystem", "xfs"),
    "file system Btrfs": plain("disk.filesystem", "btrfs"),
    "swap": plain("disk.swap", "2GiB"),
    "swap in LVM": plain("disk.swap", "2GiB", disk__layout="lvm"),
    "size of the root": plain("disk.root_size", "20GiB"),
    "size of the root in LVM": plain("disk.root_size", "20GiB", disk__layout="lvm"),
    "a volume": plain("disk.volumes", [VOLUME]),
    "a volume in LVM": plain("disk.volumes", [VOLUME], disk__layout="lvm"),
    "a volume's file system": volume(filesystem="xfs"),
    "a volume's size": volume(size="11GiB"),
    "a volume's name": plain("disk.volumes", [VOLUME | {"name": "more"}], disk__volumes=[VOLUME], disk__layout="lvm"),
    "a volume's place": volume(mount="/srv"),
    "a passphrase": Case("disk.encryption", ENCRYPTED),
    "another passphrase": Case("disk.passphrase", ENCRYPTED | {"disk.passphrase": "store:admin"}, ENCRYPTED),
    **{
        f"a passphrase on {name}": Case("disk.encryption", ENCRYPTED | {"disk.layout": name}, {"disk.layout": name})
        for name in ("lvm", "raid1", "raid1-lvm")
    },
    "size of the root behind a passphrase": Case("disk.root_size", ENCRYPTED | {"disk.root_size": "20GiB"}, ENCRYPTED),
    "size of the root in LVM behind a passphrase": Case(
        "disk.root_size",
        ENCRYPTED | {"disk.layout": "lvm", "disk.root_size": "20GiB"},
        ENCRYPTED | {"disk.layout": "lvm"},
    ),
    "a TPM": Case("disk.encryption", TPM),
    "the TPM's second key": Case("disk.passphrase", TPM | {"disk.passphrase": "store:admin"}, TPM),
    **{
        f"port by {next(iter(wish))}": ports({"match": wish})
        for wish in (
            {"mac": PORTS[2].mac},
            {"pci": "*:03:*"},
            {"driver": "ixgbe"},
            {"name": "eth2"},
            {"min_speed": 10_000},
            {"link": False},
            {"lldp_switch": "leaf2"},
            {"lldp_port": "Eth2"},
        )
    },
    "port by max_speed": ports({"match": {"max_speed": 9_000}}, {"match": {"min_speed": 9_000}}),
    "the port that netboots": ports(DHCP, {"match": {"driver": "ixgbe"}}),
    "a port's name": ports(DHCP | {"name": "lan0"}),
    "a second port": Case("net.interfaces", {"net.interfaces": [DHCP, {"match": {"min_speed": 10_000}}]}),
    "no port at all": Case("net.interfaces", {"net.interfaces": []}),
    "a static address": ports(LAN),
    "a gateway": ports(LAN, {"match": {"boot": True}, "addresses": ["10.1.0.17/24"]}),
    "a second address": ports(LAN | {"addresses": ["10.1.0.17/24", "10.1.0.18/24"]}, LAN),
    "an address of IPv6 too": ports(LAN | {"addresses": ["10.1.0.17/24", "fd00::17/64"]}, LAN),
    "IPv6 alone": ports({"match": {"boot": True}, "addresses": ["fd00::17/64"], "gateway": "fd00::1"}, LAN),
    "another gateway of IPv6": ports(
        DHCP | {"addresses": ["fd00::17/64"], "gateway": "fd00::2", "dhcp": False},
        DHCP | {"addresses": ["fd00::17/64"], "gateway": "fd00::1", "dhcp": False},
    ),
    "an address beside DHCP": ports(DHCP | {"dhcp": True, "addresses": ["10.1.0.17/24"]}),
    "no address": ports(NO_DHCP),
    "a port's MTU": ports(DHCP | {"mtu": 9000}),
    "a static port's MTU": ports(LAN | {"mtu": 9000}, LAN),
    "a route": ports(LAN | {"routes": [ROUTE4]}, LAN),
    "a route beside DHCP": ports(DHCP | {"routes": [ROUTE4]}),
    "a route of IPv6": ports(DHCP | {"routes": [ROUTE6]}),
    "a router beyond a single address": ports(
        LAN | {"addresses": ["10.1.0.17/32"]}, {"match": {"boot": True}, "addresses": ["10.1.0.17/32"]}
    ),
    "a single address": ports(LAN | {"addresses": ["10.1.0.17/32"]}, LAN),
    "a route beyond a single address": ports(
        LAN | {"addresses": ["10.1.0.17/32"], "routes": [ROUTE4]}, LAN | {"addresses": ["10.1.0.17/32"]}
    ),
    "a second gateway": Case(
        "net.interfaces",
        {"net.interfaces": [LAN, OTHER | {"addresses": ["10.2.0.17/24"], "gateway": "10.2.0.1"}]},
        {"net.interfaces": [LAN, OTHER | {"addresses": ["10.2.0.17/24"]}]},
    ),
    "a bond": Case("net.bonds", {"net.interfaces": [], "net.bonds": [BOND]}),
    "a bond's name": bonds(WAITS | {"name": "pair"}, WAITS),
    "a bond's ports": bonds(WAITS | {"match": {"driver": "igb"}}, WAITS),
    "a bond of one port": bonds(WAITS | {"count": 1}, WAITS),
    **{
        f"{mode} rather than {other}": bonds(BOND | {"mode": mode}, BOND | {"mode": other})
        for mode in ("802.3ad", "active-backup", "balance-xor", "balance-rr", "balance-alb")
        for other in ("802.3ad", "active-backup", "balance-rr")
        if mode != other
    },
    "LACP's rate": bonds(BOND | {"lacp_rate": "slow"}),
    "LACP's rate without LACP": bonds(WAITS | {"lacp_rate": "slow"}, WAITS),
    "a hash": bonds(BOND | {"hash_policy": "layer2"}),
    "another hash": bonds(BOND | {"hash_policy": "layer2+3"}, BOND | {"hash_policy": "layer2"}),
    "a hash without LACP": bonds(
        BOND | {"mode": "balance-xor", "hash_policy": "layer2"}, BOND | {"mode": "balance-xor"}
    ),
    "a hash where nothing is hashed": bonds(WAITS | {"hash_policy": "layer2"}, WAITS),
    "a static bond": bonds(WAITS | {"addresses": ["10.1.0.17/24"], "gateway": "10.1.0.1"}, WAITS),
    "a bond's gateway": bonds(
        WAITS | {"addresses": ["10.1.0.17/24"], "gateway": "10.1.0.1"}, WAITS | {"addresses": ["10.1.0.17/24"]}
    ),
    "a bond's MTU": bonds(WAITS | {"mtu": 9000}, WAITS),
    "a bond without an address": bonds(WAITS | {"dhcp": False}, WAITS),
    "a bond's route": bonds(WAITS | {"routes": [ROUTE4]}, WAITS),
    "a VLAN": Case("net.vlans", {"net.vlans": [VLAN], "net.interfaces": [NO_DHCP]}, {"net.interfaces": [NO_DHCP]}),
    "a VLAN beside its port": Case("net.vlans", {"net.vlans": [VLAN]}),
    "another VLAN": vlans(VLAN | {"id": 43}),
    "a VLAN on another port": Case(
        "net.vlans",
        {"net.interfaces": [NO_DHCP, OTHER | {"dhcp": False}], "net.vlans": [VLAN | {"link": "nic1"}]},
        {"net.interfaces": [NO_DHCP, OTHER | {"dhcp": False}], "net.vlans": [VLAN]},
    ),
    "a static VLAN": vlans(VLAN | {"addresses": ["10.42.0.17/24"], "gateway": "10.42.0.1"}),
    "a VLAN's gateway": vlans(
        VLAN | {"addresses": ["10.42.0.17/24"], "gateway": "10.42.0.1"}, VLAN | {"addresses": ["10.42.0.17/24"]}
    ),
    "a VLAN without an address": vlans(VLAN | {"dhcp": False}),
    "a VLAN's MTU": vlans(VLAN | {"mtu": 1400}),
    "a VLAN's route": vlans(VLAN | {"routes": [ROUTE4]}),
    "a name server": plain("net.dns.servers", ["10.1.0.2"]),
    "a name server of a static port": plain("net.dns.servers", ["10.1.0.2"], net__interfaces=[LAN]),
    "a second name server": plain("net.dns.servers", ["10.1.0.2", "10.1.0.3"], net__dns__servers=["10.1.0.2"]),
    "a name server of IPv6": plain("net.dns.servers", ["10.1.0.2", "fd00::3"], net__dns__servers=["10.1.0.2"]),
    "a name server of IPv6 on IPv4 alone": plain("net.dns.servers", ["fd00::3"], net__interfaces=[LAN]),
    "a search domain": plain("net.dns.search", ["a.example.org"]),
    "a second search domain": plain("net.dns.search", ["example.org", "example.com"], net__dns__search=["example.org"]),
    "a console": plain("kernel.consoles", ["ttyS1,57600"]),
    "no console": plain("kernel.consoles", []),
    "a kernel argument": plain("kernel.args", ["mitigations=off"]),
    "a kernel argument without a console": plain("kernel.args", ["mitigations=off"], kernel__consoles=[]),
    "a package": Case("packages.install", TMUX),
    "a second package": Case("packages.install", {"packages.install": ["tmux", "mc"]}, TMUX),
    "a package less": plain("packages.remove", ["nano"]),
    "root's password": plain("users.root.password", "store:ann"),
    "root's keys": plain("users.root.ssh_keys", [KEY]),
    "root's second key": plain("users.root.ssh_keys", [KEY, f"{KEY}2"], users__root__ssh_keys=[KEY]),
    "an account": plain("users.accounts", [{"name": "ann"}]),
    "an account's name": account(name="bob"),
    "an account's password": account(password="store:ann"),
    "an account's full name": account(full_name="Ann O."),
    "an account's groups": account(groups=["operators"]),
    "an account's rights": account(sudo=True),
    "an account's shell": account(shell="/bin/sh"),
    "an account's keys": account(ssh_keys=[KEY]),
    "passwords over SSH": plain("ssh.passwords", True),
    "a proxy": Case("proxy.http", PROXY),
    "a proxy for https alone": plain("proxy.https", "http://q.example.org:3128"),
    "another proxy for https": Case("proxy.https", PROXY | {"proxy.https": "http://q.example.org:3128"}, PROXY),
    "what needs no proxy": Case("proxy.except", PROXY | {"proxy.except": ["*.example.org"]}, PROXY),
    "a time server": plain("time.ntp", ["n1.example.org"]),
    "a second time server": plain("time.ntp", ["n1.example.org", "n2.example.org"], time__ntp=["n1.example.org"]),
    "a time zone": plain("time.zone", "Europe/Vienna"),
    "a certificate": plain("certificates.trusted", [CERTIFICATE]),
    "a host name": plain("system.hostname", "other"),
    "a domain": plain("system.domain", "example.org"),
    "a locale": plain("system.locale", "de_AT.UTF-8"),
    "a keyboard": plain("system.keyboard", "de"),
    "a late hook": plain("hooks.late", ["echo hello\n"]),
    "a hook at the first start": plain("hooks.first_boot", ["echo hello\n"]),
}

NAMES = sorted(
    {
        (catalogue().bootenv(name).family, first, catalogue().bootenv(name).supports): name
        for name, first in groups().items()
        if catalogue().bootenv(name).kind in MADE
    }.values()
)
"""One bootenv for each set of templates and of what an installer can be told."""


NAMED_ONLY = {("esxi-8", "a bond's name"): "VLANs find their bond by it; ESXi's own switch is vSwitch0"}
"""Names that hold the declaration together and are nothing in the system."""


def rendered(name: str, given: Mapping[str, Any]) -> tuple[str, ...] | RenderError:
    """Everything that the machine gets, or why it gets nothing."""
    site = {key: value for key, value in SITE.items() if key not in ("system.without", "users.root.password")}
    bios = all(files.firmware == ("bios",) for files in catalogue().bootenv(name).arch.values())
    machine = replace(MACHINE, facts=replace(MACHINE.facts or Facts(), firmware="bios")) if bios else MACHINE
    sample = Sample("x", machine, (Layer("global", "site", site), Layer("machine", "m", given)))
    try:
        return tuple(file.text for file in proving.files(catalogue(), catalogue().bootenv(name), sample))
    except RenderError as error:
        return error


def silent(name: str) -> Iterator[str]:
    """List the cases that make no difference and are not refused either, or are refused without naming the word."""
    lacks = catalogue().bootenv(name).supports.lacks
    base = {} if "root-password" in lacks else {"users.root.password": "store:admin"}
    for key, case in CASES.items():
        after = rendered(name, base | dict(case.changed))
        if isinstance(after, RenderError):
            if not re.search(rf"\b{case.word.partition('.')[0]}[.:]", f"{after} {after.faults}"):
                yield f"{key}: refused without its name: {after}"
        elif after == rendered(name, base | dict(case.base)) and (name, key) not in NAMED_ONLY:
            yield f"{key}: {case.word} changes nothing"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_word_is_ignored_in_silence(name: str) -> None:
    assert list(silent(name)) == []


def words_of(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    """The words that one parameter is made of: `net.bonds[].mode`."""
    if "items" in schema and "properties" in schema["items"]:
        schema, name = schema["items"], f"{name}[]"
    if "properties" not in schema:
        yield name
    for key, below in schema.get("properties", {}).items():
        yield from words_of(f"{name}.{key}", below)


def said(name: str, value: Any) -> Iterator[str]:
    """The words that a value uses."""
    match value:
        case dict():
            for key, below in value.items():
                yield from said(f"{name}.{key}", below)
        case list() if value and isinstance(value[0], dict):
            for item in value:
                yield from said(f"{name}[]", item)
        case _:
            yield name


def missing(uses: Iterator[Mapping[str, Any]]) -> set[str]:
    """The words of the vocabulary that nothing among `uses` says. Ports of a bond are matched as all ports are."""
    used = {word for values in uses for name, value in values.items() for word in said(name, value)}
    whole = {word for param in VOCABULARY.values() for word in words_of(param.name, param.schema)}
    return {word.replace("bonds[].match", "interfaces[].match") for word in whole} - used


def test_every_word_has_a_case() -> None:
    assert missing(case.changed for case in CASES.values()) - {"system.without"} == set()


def test_the_sample_machines_use_every_word() -> None:
    assert missing(iter([SITE, *(kind.params for kind in FLEET.values())])) == set()


def texts(param: Param) -> Iterator[str]:
    yield from (f"params.{param.name}", f"secrets.{param.name}", f"{{{param.name}}}")


def test_what_only_one_family_knows_is_read_by_it() -> None:
    bootenvs = [path.read_text() for path in (shipped() / "bootenvs").glob("*.yaml")]
    everything = "\n".join([*catalogue().content.templates.values(), *bootenvs])
    others = [param for name, param in PARAMS.items() if name not in VOCABULARY]
    assert others
    assert [param.name for param in others if not any(text in everything for text in texts(param))] == []


def test_what_is_asked_for_is_what_is_not_the_default() -> None:
    assert {name: PARAMS[name].default for name in DEFAULTS} == DEFAULTS


def test_whole_parameters_can_be_gone_without() -> None:
    assert tuple(PARAMS["system.without"].schema["items"]["enum"]) == DISPENSABLE
    assert {word for word in WORDS if word not in DISPENSABLE} == {
        "btrfs", "encrypted-mirror", "port-names", "second-address", "dhcp-and-static", "ipv6",
    }  # fmt: skip


def test_what_is_gone_without_is_not_refused() -> None:
    zone = {"time.zone": "Europe/Vienna"}
    refused = rendered("talos", zone)
    assert isinstance(refused, RenderError)
    assert list(refused.faults) == ["talos cannot do time.zone"]
    assert refused.hint == "where it may go without: system.without=['zone']"
    assert rendered("talos", zone | {"system.without": ["zone"]}) == rendered("talos", {})
