"""`why` in words."""

from __future__ import annotations

import json

from provisioner.model.trace import Channel
from tests.cli.conftest import Ctl, Daemon


def test_why_tells_what_to_do_and_what_was_seen(ctl: Ctl, daemon: Daemon) -> None:
    daemon.do(daemon.conductor.boot("node17", "debian-12"))
    daemon.do(daemon.conductor.fail("node17", "something that nobody knows", "look at the console"))
    daemon.conductor.see("node17", Channel.DHCP, "no free \x1b[31maddress", ok=False)
    lines = ctl("why", "node17").out.splitlines()
    assert lines[:4] == [
        "node17 failed at dhcp: something that nobody knows",
        "what to do: look at the console",
        "",
        "what was seen",
    ]
    assert lines[4].endswith("dhcp    ! no free \\x1b[31maddress")
    assert json.loads(ctl("why", "node17", "-o", "json").out)["diagnosis"] == "unknown"


def test_why_of_a_machine_that_is_fine(ctl: Ctl) -> None:
    assert ctl("why", "node18").out == "node18 is ready, and nothing was asked of it that is not done\n"
