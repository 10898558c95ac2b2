"""Options of one host: which are taken over, under which name, and why others are not."""

from __future__ import annotations

import re

import pytest

from provisioner.dhcp.foreign import hostoptions

TAKEN = {
    "by name": (("routers", "10.0.0.9"), ("routers", "10.0.0.9")),
    "by number": (("6", "10.0.0.2, 10.0.0.3"), ("domain-name-servers", "10.0.0.2, 10.0.0.3")),
    "by a name that is another one here": (("smtp-server", "10.0.0.9"), ("smtp-servers", "10.0.0.9")),
    "a text with a comma": (("root-path", "10.0.0.1:/srv,v3"), ("root-path", "10.0.0.1:/srv,v3")),
    "octets": (("224", "hex:00ff"), ("224", "hex:00ff")),
}


@pytest.mark.parametrize(("given", "found"), TAKEN.values(), ids=TAKEN.keys())
def test_taken(given: tuple[str, str], found: tuple[str, str]) -> None:
    assert hostoptions.taken(*given) == found


LEFT_OUT = {
    "what to boot": (("bootfile-name", "x.efi"), "what a machine boots is decided here"),
    "where to boot from": (("tftp-server-name", "10.0.0.9"), "what a machine boots is decided here"),
    "the network's mask": (("subnet-mask", "255.0.0.0"), "it follows from the subnet"),
    "one that we do not know": (("nis-domain", "x"), "there is no such option here"),
    "a number whose format we do not know": (("44", "10.0.0.9"), "there is no such option here"),
    "no option at all": (("", "10.0.0.9"), "there is no such option here"),
    "a value that is none": (("routers", "gateway"), "'gateway' cannot be read: "),
    "more than the API takes": (("224", "hex:" + "00" * 511), "it has more than 1024 characters"),
    "no value": (("routers", ""), "'' cannot be read: it is empty"),
    "one that the server sets itself": (("51", "hex:0000"), "'hex:0000' cannot be read: option 51 is set by"),
}


@pytest.mark.parametrize(("given", "why"), LEFT_OUT.values(), ids=LEFT_OUT.keys())
def test_left_out(given: tuple[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(why)}"):
        hostoptions.taken(*given)


def test_a_hosts_own_option_stands_over_its_groups() -> None:
    outer = (("routers", "10.0.0.1"), ("domain-name", "a"))
    assert hostoptions.merged(outer, (("routers", "10.0.0.9"),)) == (("routers", "10.0.0.9"), ("domain-name", "a"))
