"""What our own parameters take: nothing that a template, an installer or we ourselves would stumble over later."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from provisioner.catalog.params import Declarations
from provisioner.fields import parse_size
from tests.shipped import catalogue

PARAMS = catalogue().content.params
DECLARED = Declarations(PARAMS)


def faults(name: str, value: Any) -> list[str]:
    return DECLARED.flatten({name: value})[1]


def volume(**more: Any) -> list[dict[str, Any]]:
    return [{"name": "srv", "mount": "/srv", "size": "10GB"} | more]


SIZES = ("1.2.3", ".", "..GB", "1.", ".5GB", "1,5GB", "9" * 400, "GB", "1iB", "-1", "", "1.5 TBB")

WRONG: dict[str, tuple[str, Any]] = {
    **{f"a swap of {text[:9]}": ("disk.swap", text) for text in SIZES},
    **{f"a root of {text[:9]}": ("disk.root_size", text) for text in SIZES},
    **{f"a volume of {text[:9]}": ("disk.volumes", volume(size=text)) for text in SIZES},
    **{f"disks from {text[:9]}": ("disk.select", {"min_size": text}) for text in SIZES},
    **{f"disks up to {text[:9]}": ("disk.select", {"max_size": text}) for text in SIZES},
    "a domain with an empty label": ("system.domain", "a..b"),
    "a domain with a long label": ("system.domain", "x" * 64),
    "a search domain with an empty label": ("net.dns.search", ["a..b"]),
    "a time server that is an option": ("time.ntp", ["-x"]),
    "a time zone that does not exist": ("time.zone", "Europe/Nowhere"),
    "a part of the world": ("time.zone", "Europe"),
    "a disk of Windows without a name": ("windows.disk_numbers", {"": 0}),
    "a disk of Windows by its letter": ("windows.disk_numbers", {"S1": "C"}),
}


@pytest.mark.parametrize(("name", "value"), WRONG.values(), ids=WRONG.keys())
def test_refuses(name: str, value: Any) -> None:
    assert len(faults(name, value)) == 1


RIGHT: dict[str, tuple[str, Any]] = {
    **{f"a swap of {text}": ("disk.swap", text) for text in ("0", "512", "4G", "4GB", "4 GiB", "1.5TiB", "10B", "2P")},
    "a time zone": ("time.zone", "Europe/Vienna"),
    "UTC": ("time.zone", "UTC"),
    "a domain": ("system.domain", "dc1.example.org"),
    "a domain of one label": ("system.domain", "lan"),
    "time servers": ("time.ntp", ["ntp1.example.org", "10.0.0.2", "fd00::2", "::1"]),
}


@pytest.mark.parametrize(("name", "value"), RIGHT.values(), ids=RIGHT.keys())
def test_takes(name: str, value: Any) -> None:
    assert faults(name, value) == []


def test_whatever_is_taken_for_a_size_is_one() -> None:
    numbers, units = ("0", "7", "1.5", "9" * 15 + ".999"), ("", *"KMGTP", *(f"{unit}i" for unit in "KMGTP"))
    for parts in product(numbers, ("", " "), units, ("", "B")):
        text = "".join(parts)
        assert faults("disk.swap", text) == []
        assert parse_size(text) is not None


def patterns(schema: Any) -> Iterator[str]:
    """Every pattern in a schema."""
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for part in schema.values():
            yield from patterns(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from patterns(part)


@pytest.mark.parametrize("name", PARAMS)
def test_a_pattern_is_for_the_whole_text(name: str) -> None:
    assert [one for one in patterns(PARAMS[name].schema) if not (one.startswith("^") and one.endswith("$"))] == []


ENDED: dict[str, tuple[str, Any]] = {
    "a host name": ("system.hostname", "node17\n"),
    "a domain": ("system.domain", "example.org\n"),
    "a time server": ("time.ntp", ["10.0.0.1\n"]),
    "a name server": ("net.dns.servers", ["10.0.0.1\n"]),
    "a port": ("net.interfaces", [{"match": {"boot": True}, "name": "lan0\n"}]),
    "a person": ("users.accounts", [{"name": "ann\n"}]),
    "a package": ("packages.install", ["htop\n"]),
    "a keyboard": ("system.keyboard", "us\n"),
    "a secret's place": ("users.root.password", "store:root\n"),
    "a size": ("disk.swap", "1GB\n"),
    "a registration": ("suse.email", "ops@example.org\n"),
    "a line of sources": ("bootstrap.sources", ["deb http://deb.example.org/debian\n trixie main"]),
    "a mirror": ("mirror.debian", "http://deb.example.org/debian\n"),
}


@pytest.mark.parametrize(("name", "value"), ENDED.values(), ids=ENDED.keys())
def test_a_line_end_is_no_part_of_a_name(name: str, value: Any) -> None:
    """YAML's block texts (`|`) end with one; of Python's regular expressions, `$` would let it pass."""
    assert len(faults(name, value)) == 1
