"""What a BMC can be asked, as one Protocol that every driver keeps. No I/O.

A verb never does something else than its name says: what a board cannot do is `BmcUnsupported`. A change is done
only when its end state was read back. Every call raises a `BmcError` that names the BMC and what it said.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from provisioner.model.bmc import BmcAddress, BmcIdentity, BootOverride, BootTarget, Power


class Press(StrEnum):
    """One push on a machine's power controls: what is asked of the board, not the state that follows."""

    ON = "on"
    OFF = "off"
    SOFT_OFF = "soft-off"
    CYCLE = "cycle"
    RESET = "reset"
    NMI = "nmi"


class Bmc(Protocol):
    """One BMC and the one machine behind it."""

    @property
    def address(self) -> BmcAddress:
        """Say which BMC this is."""
        ...

    async def identify(self) -> BmcIdentity:
        """Say what the BMC knows of its machine; proves that user and password are right."""
        ...

    async def whose(self) -> BmcIdentity:
        """Say no more of it than tells it from others, which is asked before each change."""
        ...

    async def power(self) -> Power:
        """Read the power state. A machine on its way counts as where it comes from."""
        ...

    async def press(self, press: Press) -> None:
        """Push once. Returns when the BMC took it; says nothing about the state that follows."""
        ...

    async def set_power(self, wanted: Power) -> None:
        """Bring the machine to `wanted` and see it there. Already there is success."""
        ...

    async def reset(self) -> None:
        """Restart a running machine at once, without asking its operating system."""
        ...

    async def boot_once(self, target: BootTarget, uri: str = "", *, uefi: bool | None = None) -> None:
        """Boot from `target` the next time, and only then; read back."""
        ...

    async def boot_always(self, target: BootTarget, uri: str = "", *, uefi: bool | None = None) -> None:
        """Boot from `target` from now on (NONE: as the firmware is set up); read back."""
        ...

    async def boot_override(self) -> BootOverride:
        """Read what the firmware is told to boot."""
        ...

    async def close(self) -> None:
        """End the session at the BMC. The next call opens another."""
        ...
