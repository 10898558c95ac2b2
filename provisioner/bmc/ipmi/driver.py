"""The IPMI driver: all groups of verbs over the worker."""

from __future__ import annotations

from functools import partial

from provisioner.bmc.ipmi.accounts import AccountVerbs
from provisioner.bmc.ipmi.base import unexpected
from provisioner.bmc.ipmi.console import IpmiConsole
from provisioner.bmc.ipmi.messages import Answer, Failed, OpenConsole
from provisioner.bmc.ipmi.power import PowerVerbs
from provisioner.bmc.ipmi.watch import WatchVerbs


class Ipmi(PowerVerbs, WatchVerbs, AccountVerbs):
    """One machine by IPMI 2.0 (`verbs.Bmc`; watches, shows its console, manages users and its network, shines)."""

    LACKS = frozenset({"boot.once.http", "boot.always.http"})
    """Verbs whose method is there for others."""

    async def open_console(self, *, take_over: bool = False) -> IpmiConsole:
        """Open the serial console over LAN; `take_over` ends another's."""
        where = f"{self.address}: console.open"
        request = OpenConsole(self._link.next_id(), self._target, take_over)
        stream = await self._link.stream(request)
        console = IpmiConsole(request.id, stream, self._link, partial(self.failure, f"{self.address}: console"))
        try:
            match await stream.next():
                case Answer():
                    return console
                case Failed() as failed:
                    raise self.failure(where, failed)
                case reply:
                    raise unexpected(where, reply)
        except BaseException:  # who goes away meanwhile leaves none open that nobody reads
            await console.close()
            raise
