"""The vocabulary as templates see it; what an installer cannot do is refused before any power is touched."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from provisioner.catalog import crypt
from provisioner.catalog.params import Layer
from provisioner.catalog.render import plain
from provisioner.catalog.system import Secrets, TriedSecrets, describe, references
from provisioner.errors import RenderError
from provisioner.model.catalog import Bootenv, Files, Kind, Supports
from provisioner.model.facts import Disk, Facts, Nic
from provisioner.model.net import Mac
from tests.shipped import catalogue

MAC, TWO = Mac("52:54:00:00:00:01"), Mac("52:54:00:00:00:02")
FACTS = Facts(
    firmware="uefi",
    disks=(Disk("sda", 10**12, "/dev/disk/by-id/x"), Disk("sdb", 10**12)),
    nics=(Nic("eth0", MAC, link=True), Nic("eth1", TWO, link=True)),
)
DECLARED = catalogue().content.declarations
ALL = Supports(("plain", "lvm", "raid1"), ("passphrase",), ("static", "several", "bond", "vlan", "mtu", "routes"))
SECRETS = Secrets("seed", {"store:root": "pässword", "env:HASH": "$6$abc$def", "store:disk": "phrase"})


UNSAID = {
    # secrets are "pässword", "$6$abc$def" and "phrase"
    "nothing of them": ("x.j2:3: 'dict object' has no attribute 'y'", "x.j2:3: 'dict object' has no attribute 'y'"),
    "one of them": ("x.j2:3: 'phrase' cannot stand here", "x.j2:3: (hidden) cannot stand here"),
    "a part of one": ("x.j2:3: 'a $6$a' cannot stand here", "x.j2:3: (hidden) cannot stand here"),
    "two of them": ("x.j2:3: 'phrase' and \"pässword\"", "x.j2:3: (hidden) and (hidden)"),
    "one without quotes": ("x.j2:3: phrase", "what a secret holds cannot be written there"),
}


@pytest.mark.parametrize(("text", "said"), UNSAID.values(), ids=UNSAID.keys())
def test_errors_are_told_without_secrets(text: str, said: str) -> None:
    assert SECRETS.unsaid(text) == said


ESCAPED = ["a\\b\\c\\d\\", "\n\n\n\n\n", "it's\t\t\t", "ab", "'\"'\""]


@pytest.mark.parametrize("value", ESCAPED)
def test_errors_are_told_without_secrets_that_they_escape(value: str) -> None:
    said = Secrets("seed", {"store:x": value}).unsaid(f"x: {value!r} cannot stand here")
    assert repr(value)[1:-1] not in said
    assert value not in said


def test_a_secret_is_tried_without_hashing_it() -> None:
    tried = TriedSecrets("seed", SECRETS.values)
    assert crypt.is_hash(str(tried.hashed("store:root", "root")["hash"]))
    assert tried.hashed("env:HASH", "root") == {"hash": "$6$abc$def"}
    assert tried.hashed(None, "root") == {"hash": ""}


def system(supports: Supports = ALL, secrets: Secrets = SECRETS, family: str = "x", **given: Any) -> dict[str, Any]:
    values = {name.replace("__", "."): value for name, value in given.items()}
    params = DECLARED.resolve([DECLARED.checked(Layer("machine", "machine node17", values))]).values
    return describe(
        Bootenv("x", "X", Kind.INSTALLER, family, {}, supports=supports), "node17", FACTS, MAC, params, secrets
    )


def test_the_defaults_make_a_system() -> None:
    seen = system()
    plain(seen)
    assert (seen["hostname"], seen["fqdn"], seen["timezone"], seen["ssh_passwords"]) == (
        "node17",
        "node17",
        "Etc/UTC",
        False,
    )
    assert seen["disk"]["disks"][0]["path"] == "/dev/disk/by-id/x"
    assert [part["mount"] for part in seen["disk"]["partitions"]] == ["/boot/efi", "/"]
    assert seen["net"]["primary"]["mac"] == MAC
    assert seen["root"] == {"ssh_keys": [], "hash": ""}


def test_names() -> None:
    seen = system(system__hostname="web1", system__domain="example.org")
    assert (seen["hostname"], seen["domain"], seen["fqdn"]) == ("web1", "example.org", "web1.example.org")


def test_users_and_their_passwords() -> None:
    accounts = [
        {"name": "ann", "password": "env:HASH", "sudo": True},
        {"name": "bob", "ssh_keys": ["ssh-ed25519 AAAA b"]},
    ]
    seen = system(users__root__password="store:root", users__accounts=accounts)
    ann, bob = seen["users"]
    assert (ann["hash"], ann["sudo"], bob["hash"], bob["shell"]) == ("$6$abc$def", True, "", "/bin/bash")
    assert seen["root"]["hash"] == crypt.Unhashed("pässword", crypt.salt_from("seed", "root")), "not on the loop"
    assert "pässword" not in repr(seen)


def test_a_second_reading_is_the_same() -> None:
    assert system(users__root__password="store:root") == system(users__root__password="store:root")


def test_every_secret_that_is_needed_is_known_beforehand() -> None:
    values = {
        "users.root.password": "store:root",
        "users.accounts": [{"name": "a", "password": "env:HASH"}, {"name": "b"}],
    }
    assert references(DECLARED.resolve([DECLARED.checked(Layer("machine", "m", values))])) == ["env:HASH", "store:root"]


def test_a_secret_that_cannot_be_had_is_a_fault_and_no_empty_password() -> None:
    with pytest.raises(RenderError, match="secret store:root is not known"):
        system(secrets=Secrets("seed", {}), users__root__password="store:root")


def test_encryption_needs_a_passphrase() -> None:
    with pytest.raises(RenderError, match="nobody could ever open it"):
        system(disk__encryption="passphrase")
    assert system(disk__encryption="passphrase", disk__passphrase="store:disk")["disk"]["passphrase"] == "phrase"


def test_a_proxy_for_http_is_one_for_https_too() -> None:
    assert system(proxy__http="http://p:3128")["proxy"]["https"] == "http://p:3128"
    assert system()["proxy"]["https"] == ""


BOND = [{"name": "bond0", "match": {"link": True}}]
CANNOT: dict[str, tuple[Supports, dict[str, Any], list[str]]] = {
    "a layout": (Supports(), {"disk__layout": "lvm"}, ["x cannot do disk.layout: lvm; it can do plain"]),
    "encryption": (
        Supports(),
        {"disk__encryption": "passphrase", "disk__passphrase": "store:disk"},
        ["x cannot do disk.encryption: passphrase"],
    ),
    "a static address": (
        Supports(),
        {"net__interfaces": [{"match": {"boot": True}, "addresses": ["10.0.0.5/24"], "mtu": 9000}]},
        ["x cannot do net: mtu", "x cannot do net: static"],
    ),
    "a bond": (Supports(), {"net__interfaces": [], "net__bonds": BOND}, ["x cannot do net: bond"]),
    "a VLAN beside its port": (
        Supports(),
        {"net__interfaces": [{"name": "a", "match": {"boot": True}}], "net__vlans": [{"id": 5, "link": "a"}]},
        ["x cannot do net: several", "x cannot do net: vlan"],
    ),
}


@pytest.mark.parametrize(("supports", "given", "faults"), CANNOT.values(), ids=CANNOT.keys())
def test_what_an_installer_cannot_do_is_refused(supports: Supports, given: dict[str, Any], faults: list[str]) -> None:
    with pytest.raises(RenderError) as caught:
        system(supports, **given)
    assert list(caught.value.faults) == faults
    system(**given)


TPM_OPENS = {"disk.encryption": "tpm", "disk.passphrase": "store:disk"}


@pytest.mark.parametrize(("tpm", "said"), [("", "none"), ("1.2", "1.2")])
def test_a_machine_without_a_tpm_2_cannot_have_its_disk_opened_by_one(tpm: str, said: str) -> None:
    params = DECLARED.resolve([DECLARED.checked(Layer("machine", "machine node17", TPM_OPENS))]).values
    bootenv = Bootenv("x", "X", Kind.INSTALLER, "x", {}, supports=Supports(encryption=("tpm",)))
    seen = describe(bootenv, "node17", replace(FACTS, tpm="2.0"), MAC, params, SECRETS)
    assert seen["disk"]["encryption"] == "tpm"
    with pytest.raises(RenderError) as caught:
        describe(bootenv, "node17", replace(FACTS, tpm=tpm), MAC, params, SECRETS)
    assert caught.value.faults == (f"disk.encryption: tpm wants a TPM 2.0; this machine has {said}",)


STATIC = {"match": {"boot": True}, "addresses": ["10.0.0.5/24"]}
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "swap": ("disk.swap", {"disk__swap": "1GiB"}),
    "filesystem": ("disk.filesystem", {"disk__filesystem": "xfs"}),
    "btrfs": ("disk.filesystem: btrfs", {"disk__filesystem": "btrfs"}),
    "encrypted-mirror": (
        "disk.encryption: on a mirror",
        {"disk__layout": "raid1", "disk__encryption": "passphrase", "disk__passphrase": "store:disk"},
    ),
    "package-removal": ("packages.remove", {"packages__remove": ["nano"]}),
    "root-password": ("users.root.password", {"users__root__password": "store:root"}),
    "proxy": ("proxy.http, proxy.https", {"proxy__https": "http://p:3128"}),
    "zone": ("time.zone", {"time__zone": "Europe/Vienna"}),
    "port-names": ("net.interfaces: the name of a port", {"net__interfaces": [{"name": "a", "match": {"boot": True}}]}),
    "second-address": (
        "net: a second address on one link",
        {"net__interfaces": [STATIC | {"addresses": ["10.0.0.5/24", "10.0.0.6/24"]}]},
    ),
    "dhcp-and-static": ("net: DHCP and addresses on one link", {"net__interfaces": [STATIC | {"dhcp": True}]}),
    "ipv6": ("net: IPv6", {"net__dns__servers": ["fd00::1"]}),
}


@pytest.mark.parametrize(("word", "param", "given"), [(word, *case) for word, case in ASKED.items()], ids=ASKED.keys())
def test_what_an_installer_lacks_is_refused_where_it_is_asked_for(word: str, param: str, given: dict[str, Any]) -> None:
    lacking = replace(ALL, lacks=(word,))
    system(lacking)
    with pytest.raises(RenderError) as caught:
        system(lacking, **given)
    assert list(caught.value.faults) == [f"x cannot do {param}"]
    system(ALL, **given)


def test_a_machine_may_go_without() -> None:
    lacking = Supports(lacks=("zone",))
    assert system(lacking, time__zone="Europe/Vienna", system__without=["zone"])["hostname"] == "node17"


@pytest.mark.parametrize(("image", "taken"), {"disk.raw.zst": False, "root.tar.zst": True, "": True}.items())
def test_the_image_of_a_whole_disk_goes_on_disks_with_its_sectors(image: str, taken: bool) -> None:
    bootenv = Bootenv("x", "X", Kind.IMAGE, "x", {"amd64": Files(image=image)}, supports=ALL)
    facts = replace(FACTS, disks=(replace(FACTS.disks[0], sector_bytes=4096),))
    params = DECLARED.resolve([]).values
    said = "x is an image with sectors of 512 bytes; sda has 4096"
    with nullcontext() if taken else pytest.raises(RenderError, match=said):
        describe(bootenv, "node17", facts, MAC, params, SECRETS)


def test_a_bonds_mode_that_an_installer_cannot_do_is_refused() -> None:
    only = Supports(network=("bond",), bonds=("active-backup",))
    with pytest.raises(RenderError) as caught:
        system(only, net__interfaces=[], net__bonds=BOND)
    assert list(caught.value.faults) == ["x cannot do net.bonds: mode 802.3ad; it can do active-backup"]


SERIAL = {"a speed": ("ttyS1,57600", 1, 57600), "parity": ("ttyS0,115200n8", 0, 115200), "none": ("ttyS2", 2, 9600)}


@pytest.mark.parametrize(("console", "number", "baud"), SERIAL.values(), ids=SERIAL.keys())
def test_serial_ports_are_counted(console: str, number: int, baud: int) -> None:
    assert system(kernel__consoles=["tty0", console])["serial"] == [{"number": number, "baud": baud}]


NO_ACCOUNTS = {
    "of two layers": (["ann", "bob", "ann"], "users.accounts: ann: stands there more than once"),
    "root": (["ann", "root"], "users.accounts: root: is no account to be made"),
    "a system's own": (["daemon"], "users.accounts: daemon: is no account to be made"),
}


@pytest.mark.parametrize(("names", "said"), NO_ACCOUNTS.values(), ids=NO_ACCOUNTS.keys())
def test_accounts_that_installers_would_not_make_as_told_are_refused(names: list[str], said: str) -> None:
    with pytest.raises(RenderError, match=said):
        system(users__accounts=[{"name": name} for name in names])


OF_A_FAMILY = {
    "debian": ("www-data", "operator"),
    "ubuntu": ("backup", "ftp"),
    "proxmox": ("proxy", "halt"),
    "redhat": ("operator", "backup"),
    "coreos": ("adm", "www-data"),
}


@pytest.mark.parametrize(("family", "own", "free"), [(family, *names) for family, names in OF_A_FAMILY.items()])
def test_accounts_that_systems_of_a_family_have_are_refused_for_that_family(family: str, own: str, free: str) -> None:
    assert [user["name"] for user in system(family=family, users__accounts=[{"name": free}])["users"]] == [free]
    with pytest.raises(RenderError, match=f"users.accounts: {own}: is no account to be made"):
        system(family=family, users__accounts=[{"name": own}])
