"""One line of a machine's journey. No I/O."""

from __future__ import annotations

import re
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


NOW = -1.0
"""When a line happens that is told as it happens: the trace puts the time there, by the clock that runs have, too."""


_SECRET = re.compile(
    r"((?:token|ticket|password|passwd|secret)=[\"']?)[^\s\"']+|(/answers/|://[^\s/]+/media/)[^\s\"'/]+", re.IGNORECASE
)
"""Words that say what follows, and the URLs whose paths have a ticket: of answers, also without their host, and of
images, as a folder of an installer is named /media, too. Nothing is read twice: what a machine prints is as long as it
likes, and is read in one go."""


def hidden(text: str) -> str:
    """Blank the tokens, tickets and passwords that a machine prints: kernels print the command line they were given.

    What is blanked stays so when more of the same word follows: text can be fed as it comes.
    """
    return _SECRET.sub(r"\1\2***", text)


@dataclass(frozen=True, slots=True)
class TraceLine:
    """What happened, in the operator's words. `event` is a fixed id that docs/messages.md explains.

    `at` is in seconds since the epoch, or `NOW`; `ok` is False where the line tells of a refusal or a fault.
    """

    at: float
    channel: Channel
    event: str
    text: str
    mac: Mac | None = None
    machine: str = ""
    run: str = ""
    ok: bool = True


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """Which lines are meant. What is empty narrows nothing; `text` is looked for in id and text, in any case."""

    text: str = ""
    channel: str = ""
    run: str = ""
    troubles: bool = False
    """Only lines that tell of a refusal or a fault."""

    def fits(self, line: TraceLine) -> bool:
        """Say whether a line is meant."""
        spoken = self.text.casefold() in f"{line.event} {line.text}".casefold()
        here = self.channel in ("", line.channel) and self.run in ("", line.run)
        return spoken and here and not (self.troubles and line.ok)


ALL_LINES = TraceFilter()

Observe = Callable[[TraceLine], None]
"""Where a server puts what it saw. Never blocks, never raises; bounded behind."""
