"""A domain's XML: what it boots is set, read and taken back; what else it says stays."""

from __future__ import annotations

import contextlib
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.bmc.libvirt.domain import (
    NOTHING,
    bootable,
    facts_of,
    override_of,
    own_order,
    parse,
    set_override,
)
from provisioner.errors import BmcUnsupported, WireError
from provisioner.model.bmc import BootOverride, BootTarget

OLD = """<domain type='kvm'><name>n</name><uuid>U</uuid><memory unit='GiB'>2</memory><vcpu>4</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><loader>/OVMF.fd</loader><boot dev='network'/><boot dev='hd'/></os>
<devices><disk type='file' device='disk'><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='cdrom'><target dev='sda'/></disk><disk type='file' device='floppy'><target dev='fda'/></disk>
<interface type='bridge'><mac address='52:54:00:00:00:17'/></interface></devices></domain>"""
NEW = OLD.replace("<boot dev='network'/><boot dev='hd'/>", "").replace(
    "bus='virtio'/>", "bus='virtio'/><boot order='1'/>"
)


def kinds(text: str) -> list[str]:
    """The kinds of devices in the order that they boot."""
    return [one.kind for one in sorted(bootable(parse(text)), key=lambda one: one.order) if one.order]


def put(text: str, wanted: BootOverride) -> str:
    domain = parse(text)
    set_override(domain, wanted)
    return ET.tostring(domain, encoding="unicode")


@pytest.mark.parametrize(("text", "own"), [(OLD, ["interface", "disk"]), (NEW, ["disk"])])
@pytest.mark.parametrize("once", [True, False])
def test_an_override_is_set_read_and_taken_back(text: str, own: list[str], once: bool) -> None:
    wanted = BootOverride(BootTarget.CD, once=once)
    changed = put(text, wanted)
    assert override_of(parse(changed)) == wanted
    assert kinds(changed) == ["cdrom", *own]
    again = put(changed, BootOverride(BootTarget.PXE))
    assert kinds(again) == ["interface", *(kind for kind in own if kind != "interface")]
    assert own_order(parse(again)) == own, "its own order is remembered through several overrides"
    back = put(again, NOTHING)
    assert override_of(parse(back)) == NOTHING
    assert kinds(back) == own
    assert "52:54:00:00:00:17" in back


def test_what_it_has_no_device_for() -> None:
    with pytest.raises(BmcUnsupported, match="no interface"):
        put(OLD.replace("interface", "hostdev"), BootOverride(BootTarget.PXE))
    with pytest.raises(BmcUnsupported, match="cannot boot http"):
        put(OLD, BootOverride(BootTarget.HTTP))


def test_facts() -> None:
    facts = facts_of(parse(OLD))
    assert (facts.firmware, facts.memory_bytes, facts.cpu.cores, facts.uuid) == ("uefi", 2 << 30, 4, "u")
    assert [disk.name for disk in facts.disks] == ["vda"]
    assert [nic.mac for nic in facts.nics] == ["52:54:00:00:00:17"]
    assert facts_of(parse("<domain/>")).memory_bytes == 0


@pytest.mark.parametrize("text", ["", "<network/>", "<domain>", "<!DOCTYPE x><domain/>"])
def test_what_is_no_domain(text: str) -> None:
    with pytest.raises(WireError):
        parse(text)


def test_an_override_of_somebody_elses_making() -> None:
    text = "<domain><metadata><p:boot xmlns:p='urn:provisioner:boot:1' target='tape'/></metadata></domain>"
    with pytest.raises(WireError, match="tape"):
        override_of(parse(text))


@given(st.text(max_size=60))
def test_any_text(text: str) -> None:
    for whole in (text, f"<domain>{text}</domain>", f"<domain><devices><disk>{text}</disk></devices></domain>"):
        with contextlib.suppress(WireError):
            facts_of(parse(whole))
