"""What is measured: the metrics of one daemon, gathered from its parts when somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.v6.server import Dhcp6Server
from provisioner.lifecycle.conductor import Conductor
from provisioner.model.machine import State
from provisioner.netwatch.guard import Guard
from provisioner.netwatch.supervisor import Netwatch
from provisioner.services import Standing
from provisioner.tftp.server import TftpServer
from provisioner.web.api import VERSION
from provisioner.web.metrics import Kind, Metric, counter, gauge, single
from provisioner.web.share import Sharing

LOOKS = ("free", "used", "known", "late", "blind")


@dataclass(frozen=True, slots=True)
class Served:
    """What machines fetch from."""

    tftp: TftpServer | None
    sharing: Sharing


def measure(
    conductor: Conductor,
    dhcp: DhcpServer,
    dhcp6: Dhcp6Server,
    netwatch: Netwatch,
    guard: Guard,
    served: Served,
) -> Iterator[Metric]:
    """Give every metric."""
    yield gauge("provisioner_build_info", "The version that runs; always 1.", {VERSION: 1}, "version")
    states = Counter(machine.state for machine in conductor.machines.all())
    yield gauge("provisioner_machines", "Machines on record.", {state: states[state] for state in State}, "state")
    yield from of_dhcp(dhcp, dhcp6)
    yield from _netwatch(netwatch, guard)
    yield from of_services(conductor.services.standings())
    counts = served.tftp.counts if served.tftp is not None else Counter[str]()
    yield counter("provisioner_tftp_total", "TFTP transfers and refusals by their outcome.", counts, "outcome")
    what = "Lines of the boot trace that were thrown away, for the store did not take them in time."
    yield single("provisioner_trace_lost_lines_total", Kind.COUNTER, what, conductor.lost_lines)
    chunks = "Chunks of images that machines took, by who gave them."
    yield counter("provisioner_image_chunks_total", chunks, served.sharing.counts, "source")


def of_services(standings: Sequence[Standing]) -> Iterator[Metric]:
    """Give those of the daemon's services."""
    ends = {each.name: float(each.ends) for each in standings}
    yield counter(
        "provisioner_service_ends_total", "Ends of a service by a fault; it was begun again.", ends, "service"
    )


def of_dhcp(dhcp: DhcpServer, dhcp6: Dhcp6Server) -> Iterator[Metric]:
    """Give those of both families: what was done, and how full the pools are."""
    counts = {**dhcp.trace.counts, **dhcp6.trace.counts}
    yield counter("provisioner_dhcp_events_total", "What DHCP did, by the ids of its log.", counts, "event")
    now = dhcp.now()
    pools = {pool.name: pool for pool in dhcp.site.pools() if pool.size}
    pools |= {f"{pool.name} (IPv6)": pool for pool in dhcp6.site.pools() if pool.size}
    sizes = {name: float(pool.size) for name, pool in pools.items()}
    used = {name: float(pool.used(now)) for name, pool in pools.items()}
    yield gauge("provisioner_dhcp_pool_addresses", "Addresses that a pool has.", sizes, "pool")
    yield gauge("provisioner_dhcp_pool_used_addresses", "Held, offered, declined or fixed.", used, "pool")
    declined = {name: float(pool.declined) for name, pool in pools.items()}
    yield gauge("provisioner_dhcp_pool_declined_addresses", "Found to be used by others.", declined, "pool")


def _netwatch(netwatch: Netwatch, guard: Guard) -> Iterator[Metric]:
    up = single("provisioner_netwatch_up", Kind.GAUGE, "1 while somebody watches the wires.", not netwatch.fault)
    restarts = "How often netwatch was started again."
    yield up
    yield single("provisioner_netwatch_restarts_total", Kind.COUNTER, restarts, netwatch.restarts)
    deaf = "Cannot be listened on, or not be asked on by DHCPv6."
    yield single("provisioner_netwatch_deaf_interfaces", Kind.GAUGE, deaf, len(netwatch.deaf))
    unread = "Messages of other DHCP servers that were too many to be read, since netwatch was started."
    yield single("provisioner_netwatch_unread_messages", Kind.GAUGE, unread, netwatch.unread)
    looks = {how: float(netwatch.counts[how]) for how in LOOKS}
    what = "Looks for whoever uses an address; known: free a moment ago, late: not said in time, blind: not made."
    yield counter("provisioner_address_looks_total", what, looks, "result")
    rogues = Counter(rogue.place for rogue in guard.rogues())
    yield gauge(
        "provisioner_dhcp_rogue_servers", "Other DHCP servers where we are to be the only one.", rogues, "place"
    )
    names = guard.fallen()
    fallen = {subnet.title: float(subnet.title in names) for subnet in guard.subnets()}
    yield gauge("provisioner_dhcp_fallback", "1 while a subnet is only a proxy for a rogue server.", fallen, "subnet")
