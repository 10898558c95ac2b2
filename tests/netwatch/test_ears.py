"""What the kernel tells of an interface, also where little of /proc is to be seen."""

from __future__ import annotations

import subprocess
import sys

import pytest

from provisioner.netwatch.ears import link_local

WIRE = "ip link add wire type veth peer name far; ip -6 addr add fe80::17/64 dev wire nodad"
ASK = "from provisioner.netwatch.ears import link_local; print(link_local('wire').hex(':', 2))"


@pytest.mark.netns
@pytest.mark.slow
def test_our_link_local_address_is_found_under_the_service_s_proc() -> None:
    """`ProcSubset=pid` of the unit hides /proc/net, not what a process sees of its own."""
    script = f'mount -t proc -o subset=pid proc /proc; test ! -e /proc/net; {WIRE}; exec {sys.executable} -c "$0"'
    command = ("unshare", "--net", "--mount", "--pid", "--fork", "sh", "-ec", script, ASK)
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "fe80:0000:0000:0000:0000:0000:0000:0017"


def test_none_is_found_on_what_is_no_interface() -> None:
    assert link_local("no-such-wire") == b""
