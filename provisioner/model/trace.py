"""One line of a machine's journey. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from provisioner.model.net import Mac


class Channel(StrEnum):
    """Where a line of the boot trace was seen."""

    DHCP = "dhcp"
    DHCP6 = "dhcp6"
    PROXY = "4011"
    TFTP = "tftp"
    HTTP = "http"
    BMC = "bmc"
    AGENT = "agent"
    CONSOLE = "console"
    LIFE = "life"


@dataclass(frozen=True, slots=True)
class TraceLine:
    """What happened, in the operator's words. `event` is a fixed id that docs/messages.md explains.

    `at` is in seconds since the epoch; `ok` is False where the line tells of a refusal or a fault.
    """

    at: float
    channel: Channel
    event: str
    text: str
    mac: Mac | None = None
    machine: str = ""
    run: str = ""
    ok: bool = True


Observe = Callable[[TraceLine], None]
"""Where a server puts what it saw. Never blocks, never raises; bounded behind."""
