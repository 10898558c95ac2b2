"""What is measured of DHCP, of both families, and of services."""

from __future__ import annotations

from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.subnets import Dhcp, Subnet
from provisioner.dhcp.v6.server import Dhcp6Server
from provisioner.dhcp.v6.subnets import Subnet6
from provisioner.measures import of_dhcp, of_services
from provisioner.services import Standing
from provisioner.web.metrics import exposition
from tests.dhcp.clients import chain
from tests.dhcp.v6.clients import SERVER_DUID, acquire

CONFIG = Dhcp(
    subnets=(Subnet(network="10.0.0.0/24", interface="eth0", pools=("10.0.0.100-10.0.0.109",), name="rack"),),
    subnets6=(Subnet6(network="fd00::/64", interface="eth0", pools=("fd00::100-fd00::103",), name="rack"),),
)


def test_pools_of_both_families_have_names_of_their_own() -> None:
    dhcp = DhcpServer(CONFIG, decide=chain, leases=None, observe=lambda line: None)  # type: ignore[arg-type]
    dhcp6 = Dhcp6Server(CONFIG, decide=chain, leases=None, observe=lambda line: None)  # type: ignore[arg-type]
    dhcp6.trace.counts["dhcp6.reply"] += 2
    dhcp6.site.duid = SERVER_DUID
    acquire(dhcp6.site, now=dhcp6.now())
    said = exposition(of_dhcp(dhcp, dhcp6))
    assert 'provisioner_dhcp_events_total{event="dhcp6.reply"} 2' in said
    assert 'provisioner_dhcp_pool_addresses{pool="rack"} 10' in said
    assert 'provisioner_dhcp_pool_addresses{pool="rack (IPv6)"} 4' in said
    assert 'provisioner_dhcp_pool_used_addresses{pool="rack (IPv6)"} 1' in said


def test_services_that_ended_are_counted() -> None:
    said = exposition(of_services([Standing("names", 2, "EOFError: EOF"), Standing("mirror")]))
    assert 'provisioner_service_ends_total{service="names"} 2' in said
    assert 'provisioner_service_ends_total{service="mirror"} 0' in said
