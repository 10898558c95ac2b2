"""Our own shapes: closed, so that a key that an installer would pass over is a fault."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner import yamlfile
from provisioner.catalog.lint import SCHEMAS
from provisioner.catalog.validate import CHECKS, MAX_FAULTS, validate

SHAPES: dict[str, Any] = {
    file.stem: yamlfile.load(file.read_bytes(), file.name).value for file in SCHEMAS.glob("*.yaml")
}

STORAGE = "storage: {config: [{id: a, type: mount, path: /, device: b}]}"
GOOD = {
    "autoinstall": f"#cloud-config\nautoinstall:\n  version: 1\n  network: {{version: 2}}\n  {STORAGE}\n",
    "cloud-config": "#cloud-config\nhostname: a\n",
    "ignition": '{"ignition": {"version": "3.3.0"}}',
    "json": "[1]",
    "toml": "a = 1\n",
    "yaml": "a: 1\n",
    "preseed": "# x\nd-i netcfg/get_hostname string a\nd-i clock-setup/utc boolean true\n",
    "esxi": "vmaccepteula\nrootpw --iscrypted x\ninstall --firstdisk\nnetwork --bootproto=dhcp\n%firstboot\nanything\n",
    "proxmox": """
[global]
keyboard = "de"
country = "at"
fqdn = "pve.example.org"
mailto = "root@pve.example.org"
timezone = "Europe/Vienna"
root-password-hashed = "$6$x$y"
[network]
source = "from-answer"
cidr = "10.1.0.17/24"
gateway = "10.1.0.1"
dns = "10.1.0.2"
filter.ID_NET_NAME_MAC = "enx525400770001"
[disk-setup]
filesystem = "zfs"
zfs.raid = "raid1"
zfs.hdsize = 80
disk-list = ["sda", "sdb"]
""",
    "autoyast": "<profile><general><mode><confirm>false</confirm></mode></general></profile>",
    "unattend": "<unattend><settings><component><TimeZone>UTC</TimeZone></component></settings></unattend>",
}


@pytest.mark.parametrize("validator", GOOD)
def test_takes_what_is_right(validator: str) -> None:
    assert validate(validator, GOOD[validator], SHAPES) == []


WRONG = {
    "autoinstall without its first line": ("autoinstall", "autoinstall: {version: 1}", "#cloud-config"),
    "an unknown key": ("autoinstall", GOOD["autoinstall"] + "  snap: []\n", "'snap' was unexpected"),
    "an unknown key of an action": (
        "autoinstall",
        GOOD["autoinstall"].replace("device: b", "devise: b"),
        "'devise' was unexpected",
    ),
    "an unknown key of the first boot": (
        "autoinstall",
        GOOD["autoinstall"] + "  user-data: {usres: []}\n",
        "user-data: document: ",
    ),
    "a YAML trap": ("yaml", "a: no\n", "YAML 1.1 reads no as a truth value"),
    "no YAML": ("cloud-config", "#cloud-config\n[", "not YAML"),
    "no JSON": ("ignition", "{", "not JSON"),
    "no JSON at all": ("json", "{", "not JSON"),
    "another version of Ignition": ("ignition", '{"ignition": {"version": "3.4.0"}}', "'3.3.0' was expected"),
    "no TOML": ("toml", "a = ", "not TOML"),
    "no XML": ("unattend", "<unattend>", "not XML"),
    "an element that does not exist": ("autoyast", "<profile><genral/></profile>", "/profile/genral: no such element"),
    "elements where text is wanted": (
        "autoyast",
        "<profile><keyboard><keymap><x/></keymap></keyboard></profile>",
        "text is wanted here, not elements",
    ),
    "a preseed line that is cut": ("preseed", "d-i netcfg/get_hostname\n", "1: owner, question and type"),
    "a type that debconf does not know": ("preseed", "d-i netcfg/get_hostname strng a\n", "'strng' is not a type"),
    "a question that d-i does not know": ("preseed", "d-i netcfg/get_hostnme string a\n", "no question of this name"),
    "a truth value that is none": ("preseed", "d-i clock-setup/utc boolean yes\n", "true or false is wanted"),
    "a command that ESXi does not know": (
        "esxi",
        GOOD["esxi"].replace("%firstboot", "part /\n%firstboot"),
        "5: part: no such command",
    ),
    "an ESXi installation without a disk": (
        "esxi",
        GOOD["esxi"].replace("install --firstdisk\n", ""),
        "install: missing",
    ),
    **{
        f"an answer for Proxmox VE: {what}": ("proxmox", GOOD["proxmox"].replace(*change), says)
        for what, change, says in (
            ("a key that it does not know", ("zfs.hdsize", "zfs.size"), "disk-setup.zfs: Additional properties"),
            ("one disk for a mirror", ('["sda", "sdb"]', '["sda"]'), "disk-setup.disk-list: ['sda'] is too short"),
            ("three disks are too few", ("raid1", "raidz-2"), "disk-setup.disk-list: ['sda', 'sdb'] is too short"),
            ("a level that there is not", ("raid1", "mirror"), "disk-setup.zfs.raid: 'mirror' is not one of"),
            ("ZFS and LVM together", ("zfs.hdsize", "lvm.hdsize"), "disk-setup: False schema does not allow"),
            ("ZFS' options without it", ('"zfs"', '"ext4"'), "disk-setup: False schema does not allow"),
            ("disks by two ways", ("zfs.hdsize = 80", 'filter.ID_PATH = "x"'), "disk-setup: "),
            ("no root password", ('root-password-hashed = "$6$x$y"', ""), "global: "),
            ("an address beside DHCP", ("from-answer", "from-dhcp"), "network: "),
            ("no name server", ('dns = "10.1.0.2"', ""), "network: 'dns' is a required property"),
            ("a name without a domain", ('= "pve.example.org', '= "pve'), "global.fqdn: 'pve' does not match"),
            ("what is no TOML", ("[global]", "[global"), "not TOML: "),
        )
    },
    "a Talos document of no kind": ("talos", "version: v1alpha1\n", "is not valid under any of the given schemas"),
}


@pytest.mark.parametrize(("validator", "text", "says"), WRONG.values(), ids=WRONG.keys())
def test_finds_what_is_wrong(validator: str, text: str, says: str) -> None:
    faults = validate(validator, text, SHAPES)
    assert any(says in fault for fault in faults), faults


def test_what_nobody_knows_is_not_judged() -> None:
    assert validate("", "anything", SHAPES) == []
    assert validate("shellcheck", "anything", SHAPES) == []


def test_faults_are_bounded() -> None:
    assert len(validate("preseed", "x\n" * 1000, SHAPES)) == MAX_FAULTS


@given(st.sampled_from(sorted(CHECKS)), st.text(max_size=60))
def test_any_text_is_judged_without_an_exception(validator: str, text: str) -> None:
    assert isinstance(validate(validator, text, SHAPES), list)
