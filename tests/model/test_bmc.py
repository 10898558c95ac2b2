"""The URL of a BMC, as an operator writes it and is shown it."""

from __future__ import annotations

import pytest

from provisioner.errors import ConfigError
from provisioner.model.bmc import BmcAddress, Driver, parse_url

URLS = {
    "IPMI": ("ipmi://admin@10.0.0.17", BmcAddress(Driver.IPMI, "10.0.0.17", 623, "admin")),
    "a port and one of several systems": (
        "redfish://root@bmc17:8443/Self", BmcAddress(Driver.REDFISH, "bmc17", 8443, "root", system="Self")),
    "IPv6": ("redfish://a@[fd00::1]", BmcAddress(Driver.REDFISH, "fd00::1", 443, "a")),
    "an odd user": ("ipmi://ad%40min%2F@h", BmcAddress(Driver.IPMI, "h", 623, "ad@min/")),
    "a virtual machine": (
        "libvirt://localhost/node17", BmcAddress(Driver.LIBVIRT, "localhost", 0, "", system="node17")),
    "one with a blank in its name": (
        "libvirt://root@h:22/my%20vm", BmcAddress(Driver.LIBVIRT, "h", 22, "root", system="my vm")),
}  # fmt: skip


@pytest.mark.parametrize(("text", "address"), URLS.values(), ids=URLS.keys())
def test_a_url_is_read_and_what_is_shown_of_it_is_it_again(text: str, address: BmcAddress) -> None:
    assert parse_url(text) == address
    assert parse_url(str(address)) == address


WRONG = {
    "no scheme": ("admin@10.0.0.1", "not the address of a BMC"),
    "another scheme": ("https://admin@10.0.0.1", "not the address of a BMC"),
    "no user": ("ipmi://10.0.0.1", "not the address of a BMC"),
    "nobody to log in": ("redfish://10.0.0.1", "not the address of a BMC"),
    "no host": ("ipmi://a@", "not the address of a BMC"),
    "no domain": ("libvirt://localhost", "not the address of a BMC"),
    "IPMI, which has one system": ("ipmi://a@h/sys", "not the address of a BMC"),
    "a path": ("redfish://a@h/redfish/v1/Systems/1", "not the address of a BMC"),
    "a path in disguise": ("redfish://a@h/Systems%2F1", "not the address of a BMC"),
    "a query": ("ipmi://a@b?x", "not the address of a BMC"),
    "a fragment": ("ipmi://a@b#x", "not the address of a BMC"),
    "a port that is none": ("ipmi://a@h:99999", "Port out of range"),
    "half an address": ("ipmi://a@[fd00::1", "Invalid IPv6 URL"),
    "a password for all to read": ("ipmi://a:secret@h:99999", "a password has no place"),
}


@pytest.mark.parametrize(("text", "says"), WRONG.values(), ids=WRONG.keys())
def test_what_is_no_url(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse_url(text)
    assert "secret" not in str(caught.value)


def test_who_only_looks_names_no_user() -> None:
    assert parse_url("redfish://h", login=False) == BmcAddress(Driver.REDFISH, "h", 443, "")
