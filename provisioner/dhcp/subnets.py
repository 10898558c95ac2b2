"""DHCP settings as an operator writes them: each field with its default and a line of explanation. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from provisioner.dhcp.v6.subnets import Reservation6, Subnet6
from provisioner.model.boot import Trust, Unknown
from provisioner.settings import setting


class Mode(StrEnum):
    """What we are on a subnet."""

    AUTHORITATIVE = "authoritative"
    PROXY = "proxy"
    RESERVATIONS_ONLY = "reservations-only"
    OFF = "off"


class Rogue(StrEnum):
    """What is done when another DHCP server answers where we are to be the only one."""

    REPORT = "report"
    FALLBACK = "fallback"


class Durability(StrEnum):
    """What has become of a lease when it is acknowledged."""

    DURABLE = "durable"
    WRITTEN = "written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """One IPv4 network with its addresses and what its clients are told."""

    network: str = setting("", "The network, such as 10.0.8.0/22.")
    name: str = setting("", "A name for logs and leases; the network itself when empty.")
    interface: str = setting("", "Interface that its clients are on; empty: they come through relays only.")
    shared_network: str = setting("", "Subnets with the same word here are on one wire; a client may get any of them.")
    mode: Mode = setting(
        Mode.AUTHORITATIVE,
        "authoritative: the only DHCP server; proxy: boot information beside another server, never an address; "
        "reservations-only: addresses for machines that have a reservation, silence for others; off: silence.",
    )
    unknown: Unknown = setting(
        Unknown.DISCOVER,
        "Machines that nobody enrolled. ignore: silence; quarantine: an address from quarantine_pools and nothing to "
        "boot; discover: an address from pools and the discovery system.",
    )
    pools: tuple[str, ...] = setting((), "Ranges to give addresses from, such as 10.0.8.100-10.0.11.250.")
    quarantine_pools: tuple[str, ...] = setting((), "Ranges for unknown machines where unknown is quarantine.")
    server_address: str = setting(
        "", "Our address as clients of this subnet see it; empty: the one that the request came in on."
    )
    router: tuple[str, ...] = setting((), "Default routers (option 3).")
    dns: tuple[str, ...] = setting((), "Name servers (option 6). Unattended Debian installs stop without one.")
    domain: str = setting("", "Domain name (option 15).")
    search: tuple[str, ...] = setting((), "Domain search list (option 119).")
    ntp: tuple[str, ...] = setting((), "Time servers (option 42).")
    routes: tuple[str, ...] = setting(
        (), "Static routes such as `10.9.0.0/16 via 10.0.8.2` (option 121); the default router is added to them."
    )
    options: Mapping[str, str] = setting({}, "More options, by name or number; a value may be written as hex:00ff.")
    lease_s: int = setting(3600, "How long an address is given for, in seconds.")
    offer_s: int = setting(30, "How long an offered address is kept for the one that it was offered to, in seconds.")
    decline_s: int = setting(86400, "How long an address stays unused after a client found it taken, in seconds.")
    probe: bool = setting(
        True, "Look whether somebody uses an address (ARP, then ICMP; 0.3 s) before it is offered to a new machine."
    )
    rogue: Rogue = setting(
        Rogue.REPORT,
        "Another DHCP server answers here. report: say so; fallback: also be its proxy until it is gone.",
    )
    rapid_commit: bool = setting(False, "Answer DISCOVER with ACK where the client asks for it (RFC 4039).")
    bootp: bool = setting(True, "Answer plain BOOTP for machines with a reserved address.")
    loader: Mapping[str, str] = setting(
        {}, "Boot loader by architecture (efi-x64: snponly.efi) instead of the one that the plan names."
    )
    http_port: int = setting(0, "Port of the boot files in URLs; 0: http.port.")
    https: Trust = setting(
        Trust.UNSAID,
        "Who trusts the daemon's CA and gets https:// URLs: nobody (empty is the same), firmware (UEFI HTTP boot), "
        "ipxe (firmware, and an iPXE that was told of it). Needs http.tls_port.",
    )
    new_per_s: float = setting(50.0, "New unknown machines a second, per interface, by relays per subnet; 0: no limit.")
    new_burst: int = setting(500, "New unknown machines at once, per interface, by relays per subnet.")
    port_per_s: float = setting(1.0, "New unknown machines a second behind one switch port (option 82); 0: no limit.")
    port_burst: int = setting(16, "New unknown machines at once behind one switch port (option 82).")
    snooping: bool = setting(
        False,
        "Switches on this wire write the switch port (option 82) into requests without a relay, and take out what "
        "clients write (DHCP snooping). false: what comes without a relay says nothing of a switch port.",
    )
    known_spare: int = setting(10, "Percent of the pool, rounded up, that only enrolled machines may use up.")
    router_advertisements: bool = setting(
        False, "Send IPv6 router advertisements, so that iPXE does not wait 15 seconds for one."
    )
    ra_lifetime_s: int = setting(0, "Router lifetime in them, in seconds; 0: we are no IPv6 router.")

    @property
    def title(self) -> str:
        """The name that logs and leases carry."""
        return self.name or self.network


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRule:
    """Places and names whatever machine hangs on one switch port (option 82), as a relay says it, or a switch that a
    subnet trusts (`snooping`)."""

    relay: str = setting("", "Address of the relay (giaddr); empty: any.")
    circuit_id: str = setting("", "Circuit id, as text or 0x and hex; empty: any.")
    remote_id: str = setting("", "Remote id, as text or 0x and hex; empty: any.")
    name: str = setting("", "Host name of the machine on that port.")
    address: str = setting("", "Its address.")
    profile: str = setting("", "Its profile, for the overrides in `profiles`.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What a profile changes."""

    loader: Mapping[str, str] = setting({}, "Boot loader by architecture.")
    https: Trust = setting(
        Trust.UNSAID, "Who trusts the daemon's CA and gets https:// URLs; empty: as the subnet has it."
    )
    options: Mapping[str, str] = setting({}, "Options, by name or number.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What is fixed for one hardware address. Without `address` the machine is known, and gets one from the pool."""

    mac: str = setting("", "Hardware address.")
    address: str = setting("", "Address that only this machine gets.")
    addresses: tuple[str, ...] = setting((), "More such addresses, for other subnets: one in each.")
    name: str = setting("", "Host name (option 12).")
    uuid: str = setting("", "SMBIOS UUID: another port of the same machine is then known as well.")
    profile: str = setting("", "Profile, for the overrides in `profiles`.")
    loader: Mapping[str, str] = setting({}, "Boot loader by architecture.")
    https: Trust = setting(
        Trust.UNSAID, "Who trusts the daemon's CA and gets https:// URLs; empty: as its profile or the subnet has it."
    )
    options: Mapping[str, str] = setting({}, "Options, by name or number.")

    @property
    def fixed(self) -> tuple[str, ...]:
        """All its fixed addresses."""
        return tuple(each for each in (self.address, *self.addresses) if each)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dhcp:
    """The DHCP server's settings."""

    subnets: tuple[Subnet, ...] = setting((), "The networks that are served.")
    interfaces: tuple[str, ...] = setting(
        (), "Interfaces to listen on beside those that subnets name; empty: all, where a subnet is behind relays only."
    )
    reservations: tuple[Reservation, ...] = setting((), "Fixed addresses beside those of enrolled machines.")
    allowed_servers: tuple[str, ...] = setting(
        (),
        "Addresses of other DHCP servers that may answer beside us, and of IPv6 routers where we advertise ourselves "
        "(of IPv6 link-local ones: fe80::1); all others are reported as rogue.",
    )
    watch_s: float = setting(
        60.0,
        "How often to ask for an address ourselves, to find rogue servers; 0: only hear them. One is gone when it has "
        "left four such questions unanswered.",
    )
    subnets6: tuple[Subnet6, ...] = setting((), "The IPv6 networks that are served.")
    reservations6: tuple[Reservation6, ...] = setting((), "Fixed IPv6 addresses.")
    ports: tuple[PortRule, ...] = setting((), "Names and addresses by switch port.")
    profiles: Mapping[str, Overrides] = setting({}, "Loaders, HTTPS and options by profile.")
    bmc_macs: tuple[str, ...] = setting(
        (),
        "Hardware addresses that BMCs have: prefixes (d0:94:66) or ranges (FIRST-LAST). What asks from one of them is "
        "listed by `provisionctl bmc found`, as is what calls itself a BMC.",
    )
    server_port: int = setting(67, "UDP port to serve; anything but 67 is for tests.")
    durability: Durability = setting(
        Durability.DURABLE,
        "durable: a lease is on the disk before it is acknowledged; written: it is with the kernel (survives a crash "
        "of the daemon, not a power cut), as most DHCP servers do it.",
    )
