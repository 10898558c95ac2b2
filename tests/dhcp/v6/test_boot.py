"""What DHCPv6 clients are told to boot."""

from __future__ import annotations

import pytest

from provisioner.dhcp.case import Silence
from provisioner.dhcp.subnets import Reservation
from provisioner.dhcp.v6.case import Reply6
from provisioner.dhcp.v6.message import Type, decode
from provisioner.dhcp.v6.options import (
    texts,
    vendor_class,
)
from provisioner.dhcp.v6.subnets import Reservation6
from provisioner.model.boot import LoadFile, LocalDisk, Trust, Unknown
from tests.dhcp.v6.clients import (
    FIRMWARE,
    HTTP,
    LOADER,
    MAC,
    OS,
    OVMF_DUID,
    PXE,
    US,
    Says,
    ask,
    captured,
    direct,
    given,
    ia,
    ip,
    said,
    site,
    subnet,
    us,
)

SOLICIT, REQUEST, CONFIRM, RENEW = Type.SOLICIT, Type.REQUEST, Type.CONFIRM, Type.RENEW
REBIND, RELEASE, DECLINE, INFORM = Type.REBIND, Type.RELEASE, Type.DECLINE, Type.INFORMATION_REQUEST


def boot(found: Reply6 | Silence) -> tuple[str, bytes | None, bytes | None]:
    """URL, parameters and vendor class of a reply."""
    message = said(found)
    return (message.option(59) or b"").decode(), message.option(60), message.option(16)


BOOTS = {
    "firmware gets its loader by TFTP": (FIRMWARE, f"tftp://[{US}]/snponly.efi"),
    "HTTP boot gets a URL": (Says(OVMF_DUID, HTTP), f"http://[{US}]:8080/files/snponly.efi"),
    "iPXE gets its script": (LOADER, f"http://[{US}]:8080/boot/{MAC}/script.ipxe"),
    "a system gets nothing": (OS, ""),
}


@pytest.mark.parametrize(("client", "url"), BOOTS.values(), ids=BOOTS.keys())
def test_boot(client: Says, url: str) -> None:
    assert boot(ask(site(), client.message(SOLICIT, ia())))[0] == url
    assert boot(ask(site(), us(client, REQUEST, ia())))[0] == url
    assert boot(ask(site(), client.message(INFORM)))[0] == url


def test_http_boot_hears_its_own_words() -> None:
    value = boot(ask(site(), Says(OVMF_DUID, HTTP).message(SOLICIT, ia())))[2]
    assert vendor_class(value) == (343, (b"HTTPClient",))
    assert boot(ask(site(), FIRMWARE.message(SOLICIT, ia())))[2] is None


def test_boot_parameters() -> None:
    here = site(subnet(boot_parameters=("350", "x")))
    value = boot(ask(here, FIRMWARE.message(SOLICIT, ia())))[1]
    assert texts(value or b"") == (b"350", b"x")
    without = Says(OVMF_DUID, PXE[1:])
    assert boot(ask(here, without.message(SOLICIT, ia())))[1] is None


LOADERS = {
    "the subnet's": ({"loader": {"efi-x64": "other.efi"}}, {}, "other.efi"),
    "the machine's before it": ({"loader": {"efi-x64": "other.efi"}}, {"loader": {"efi-x64": "own.efi"}}, "own.efi"),
    "of another architecture": ({"loader": {"efi-arm64": "other.efi"}}, {}, "snponly.efi"),
}


@pytest.mark.parametrize(("of_subnet", "of_machine", "name"), LOADERS.values(), ids=LOADERS.keys())
def test_loaders(of_subnet: dict[str, dict[str, str]], of_machine: dict[str, dict[str, str]], name: str) -> None:
    here = site(subnet(**of_subnet), known=(Reservation(mac=MAC, **of_machine),))  # type: ignore[arg-type]
    assert boot(ask(here, FIRMWARE.message(SOLICIT, ia())))[0] == f"tftp://[{US}]/{name}"


SECURE = {
    "the subnet's firmware trusts us": ({"https": Trust.FIRMWARE}, {}, "https"),
    "the machine's does": ({}, {"https": Trust.FIRMWARE}, "https"),
    "the machine's does not": ({"https": Trust.FIRMWARE}, {"https": Trust.NOBODY}, "http"),
}


@pytest.mark.parametrize(("of_subnet", "of_machine", "scheme"), SECURE.values(), ids=SECURE.keys())
def test_https(of_subnet: dict[str, Trust], of_machine: dict[str, Trust], scheme: str) -> None:
    here = site(subnet(**of_subnet), known=(Reservation(mac=MAC, **of_machine),), tls_port=8443)
    found = ask(here, Says(OVMF_DUID, HTTP).message(SOLICIT, ia()))
    port = {"http": 8080, "https": 8443}[scheme]
    assert boot(found)[0] == f"{scheme}://[{US}]:{port}/files/snponly.efi"
    assert found.reason.endswith("; by HTTPS, as it trusts our CA") is (scheme == "https")


def test_a_fixed_address_says_it_before_the_machine() -> None:
    fixed = Reservation6(address="fd00::50", mac=MAC, https=Trust.FIRMWARE)
    here = site(fixed=(fixed,), known=(Reservation(mac=MAC, https=Trust.NOBODY),), tls_port=8443)
    url = boot(ask(here, Says(OVMF_DUID, HTTP).message(SOLICIT, ia())))[0]
    assert url == f"https://[{US}]:8443/files/snponly.efi"


def test_no_setting_of_loaders_stands_for_what_firmware_starts_by_itself() -> None:
    here = site(subnet(loader={"efi-x64-http": "own.efi"}))
    here.decide = lambda _client: LoadFile("artifacts/iso/amd64/image.iso", "live", direct=True)
    url = boot(ask(here, Says(OVMF_DUID, HTTP).message(SOLICIT, ia())))[0]
    assert url == f"http://[{US}]:8080/artifacts/iso/amd64/image.iso"


OURS = {
    "the one that is set": ({"server_address": "fd00::77"}, ("fd00::1",), "fd00::77"),
    "our own in the network": ({}, ("fd99::1", "fd00::5"), "fd00::5"),
    "any that we have": ({}, ("fd99::1",), "fd99::1"),
}


@pytest.mark.parametrize(("settings", "own", "seen"), OURS.values(), ids=OURS.keys())
def test_our_address(settings: dict[str, str], own: tuple[str, ...], seen: str) -> None:
    here = site(subnet(**settings))
    here.addresses = {"eth0": tuple(ip(each) for each in own)}
    assert boot(ask(here, FIRMWARE.message(SOLICIT, ia())))[0] == f"tftp://[{seen}]/snponly.efi"


def test_without_an_address_of_ours_there_is_no_url() -> None:
    here = site()
    here.addresses = {}
    found = ask(here, FIRMWARE.message(SOLICIT, ia()))
    assert boot(found)[0] == ""
    assert given(found) == [["fd00::100"]]
    assert found.reason == "no global IPv6 address of ours on that link: set server_address"


def test_a_machine_that_boots_its_disk_gets_an_address_only() -> None:
    found = ask(site(decide=lambda client: LocalDisk("it is installed")), FIRMWARE.message(SOLICIT, ia()))
    assert (boot(found)[0], given(found), found.reason) == ("", [["fd00::100"]], "it is installed")


def test_quarantine_boots_nothing() -> None:
    here = site(subnet(unknown=Unknown.QUARANTINE, quarantine_pools=("fd00::200",)))
    assert boot(ask(here, FIRMWARE.message(SOLICIT, ia())))[0] == ""


CAPTURED = {
    "ovmf-pxe6": ["tftp://[fd77::1]/snponly.efi"] * 2
    + ["http://[fd77::1]:8080/boot/52:54:00:77:00:01/script.ipxe"] * 2,
    "ovmf-http6": ["tftp://[fd77::1]/snponly.efi"] * 2 + ["http://[fd77::1]:8080/files/snponly.efi"],
    "dhclient6-solicit": [],
}


@pytest.mark.parametrize(("name", "urls"), CAPTURED.items())
def test_captured_clients_are_served(name: str, urls: list[str]) -> None:
    """Each gets an address, the first of its machine the same one, and where it boots, the right kind of URL."""
    here = site(subnet(network="fd77::/64", pools=("fd77::100-fd77::1ff",)))
    here.addresses = {"eth0": (ip("fd77::1"),)}
    messages = [(decode(data), source) for data, source in captured(name)]
    here.duid = next(duid for message, _ in messages if (duid := message.option(2)))
    asked = [each for each in messages if each[0].type not in (Type.ADVERTISE, Type.REPLY)]
    found = [ask(here, message, direct()._replace(source=source, mac=b"")) for message, source in asked]
    told = [url.decode() for each in found if (url := said(each).option(59))]
    assert told[: len(urls)] == urls
    assert {each for one in found for addresses in given(one) for each in addresses} <= {"fd77::100", "fd77::101"}
