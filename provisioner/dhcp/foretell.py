"""What a machine would be told if it asked now, on each link that it may be on. Nothing of it stays. No I/O.

The rules are those of every packet (`answer`); an address that was offered on the way is free again afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from provisioner.dhcp.answer import answer
from provisioner.dhcp.asking import Ask, packet_of
from provisioner.dhcp.case import Arrival, Silence
from provisioner.dhcp.options import Opt
from provisioner.dhcp.packet import address, decode
from provisioner.dhcp.relay import NOTHING
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Mode
from provisioner.dhcp.topology import Net
from provisioner.model.boot import BootClient, Plan


@dataclass(frozen=True, slots=True)
class Foretold:
    """What would be said on one link. Texts are empty where the answer has no such thing."""

    link: str
    """The subnet's name."""
    address: str = ""
    next_server: str = ""
    boot_file: str = ""
    reason: str = ""
    silent: bool = False


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a machine asks from: a subnet, and the relay that it comes by (0: none)."""

    net: Net
    relay: int = 0


def foretell(site: Site, ask: Ask, decide: Callable[[BootClient], Plan], now: float) -> list[Foretold]:
    """Say what would be answered to `ask`, were `decide` asked; empty where no subnet is served."""
    imagined = site.asked_by(decide)
    key = bytes.fromhex(ask.mac.replace(":", ""))
    offered = [pool for pool in site.pools() if pool.offered(key) is not None]
    try:
        return [_told(imagined, ask, spot, now) for spot in _spots(site, key)]
    finally:
        for pool in site.pools():
            if pool not in offered:
                pool.withdraw(key)


def _spots(site: Site, key: bytes) -> list[_Spot]:
    """Find the links of a machine by its fixed addresses or its last lease; all that are served where neither tells."""
    leases = [lease for pool in site.pools() if (lease := pool.of(key)) is not None]
    last = max(leases, key=lambda lease: lease.since, default=None)
    known = site.reservations.find(key, None, 0, NOTHING)
    ips = known.ips if known is not None and known.ips else (last.ip,) if last is not None else ()
    homes = [home for ip in ips if (home := site.net_at(ip)) is not None]
    if homes:
        return [_Spot(home, last.relay if last is not None and home.holds(last.ip) else 0) for home in homes]
    return [_Spot(net) for net in site.topology if net.mode is not Mode.OFF]


def _told(site: Site, ask: Ask, spot: _Spot, now: float) -> Foretold:
    net, relay = spot.net, spot.relay
    interface = net.config.interface
    if not interface and not relay:
        relay = net.network + 1  # reached by relays only: one of them is on that network
    own = next((one for one in site.addresses.get(interface, ()) if net.holds(one)), min(site.ours, default=0))
    packet = packet_of(ask)._replace(giaddr=relay, hops=int(bool(relay)))
    found = answer(packet, Arrival(interface, net.server or own), site, now)
    if isinstance(found, Silence):
        return Foretold(net.name, reason=found.reason, silent=True)
    said = decode(found.data)
    name = said.file.rstrip(b"\0") or said.options.get(Opt.BOOT_FILE, b"").rstrip(b"\0")
    return Foretold(
        net.name,
        address(said.yiaddr) if said.yiaddr else "",
        address(said.siaddr) if said.siaddr else "",
        name.decode("ascii", "replace"),
        found.reason,
    )
