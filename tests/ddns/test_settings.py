"""What is wrong with DNS settings."""

from __future__ import annotations

import pytest

from provisioner.ddns.settings import Dns, faults_of

GOOD = {"server": "127.0.0.1", "forward": ("rack.example",)}
FAULTS: dict[str, tuple[dict[str, object], str]] = {
    "nothing is set": ({}, ""),
    "all is set": (
        GOOD | {"reverse": ("8.0.10.in-addr.arpa", "0.0.d.f.ip6.arpa."), "key_name": "k", "key_file": "f"},
        "",
    ),
    "zones without a server": ({"forward": ("rack.example",)}, "server: empty"),
    "a server by name": (GOOD | {"server": "ns1"}, "server: 'ns1' does not appear"),
    "no zone": (GOOD | {"forward": ()}, "forward: empty"),
    "a zone that is none": (GOOD | {"forward": ("rack..example",)}, "forward: 'rack..example' is no zone"),
    "a reverse zone that is none": (GOOD | {"reverse": ("rack.example",)}, "reverse: rack.example: reverse zones end"),
    "a port that is none": (GOOD | {"port": 0}, "port: 0"),
    "a time that is none": (GOOD | {"ttl_s": 0}, "ttl_s: 0"),
    "an algorithm that is none": (GOOD | {"key_algorithm": "rot13"}, "key_algorithm: 'rot13'"),
    "a key without its file": (GOOD | {"key_name": "k"}, "key_file: empty"),
}


@pytest.mark.parametrize(("settings", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_faults(settings: dict[str, object], fault: str) -> None:
    found = list(faults_of(Dns(**settings)))  # type: ignore[arg-type]
    assert len(found) == (1 if fault else 0)
    assert "".join(found).startswith(fault)
