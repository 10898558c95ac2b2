"""DHCPv6 settings as an operator writes them: each field with its default and a line of explanation. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from provisioner.model.boot import Trust, Unknown
from provisioner.settings import setting


class Mode6(StrEnum):
    """What we are on a subnet."""

    AUTHORITATIVE = "authoritative"
    RESERVATIONS_ONLY = "reservations-only"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet6:
    """One IPv6 network with its addresses and what its clients are told."""

    network: str = setting("", "The network, such as fd00:8::/64.")
    name: str = setting("", "A name for logs and leases; the network itself when empty.")
    interface: str = setting("", "Interface that its clients are on; empty: they come through relays only.")
    shared_network: str = setting("", "Subnets with the same word here are on one wire; a client may get any of them.")
    mode: Mode6 = setting(
        Mode6.AUTHORITATIVE,
        "authoritative: the only DHCPv6 server; reservations-only: addresses for machines that have one in "
        "reservations6, silence for others; off: silence.",
    )
    unknown: Unknown = setting(
        Unknown.DISCOVER,
        "Machines that nobody enrolled. ignore: silence; quarantine: an address from quarantine_pools and nothing to "
        "boot; discover: an address from pools and the discovery system.",
    )
    pools: tuple[str, ...] = setting(
        (), "Ranges to give addresses from, such as fd00:8::1000-fd00:8::ffff; the first 262,144 addresses are used."
    )
    quarantine_pools: tuple[str, ...] = setting((), "Ranges for unknown machines where unknown is quarantine.")
    server_address: str = setting(
        "", "Our address as clients of this subnet see it, in URLs; empty: our own in the network, on its interface."
    )
    dns: tuple[str, ...] = setting((), "Name servers (option 23).")
    search: tuple[str, ...] = setting((), "Domain search list (option 24).")
    ntp: tuple[str, ...] = setting((), "Addresses of time servers (option 56).")
    options: Mapping[str, str] = setting({}, "More options by number; a value may be written as hex:00ff.")
    lease_s: int = setting(3600, "How long an address is valid, in seconds; clients renew it at half of preferred_s.")
    preferred_s: int = setting(0, "How long it is used for new connections, in seconds; 0: as long as it is valid.")
    offer_s: int = setting(60, "How long an offered address is kept for the one that it was offered to, in seconds.")
    decline_s: int = setting(86400, "How long an address stays unused after a client found it taken, in seconds.")
    rapid_commit: bool = setting(False, "Give the address at once where the client asks for that (option 14).")
    preference: int = setting(
        255, "Option 7, 0 to 255. At 255 clients take our offer at once, and do not wait for those of other servers."
    )
    loader: Mapping[str, str] = setting(
        {}, "Boot loader by architecture (efi-x64: snponly.efi) instead of the one that the plan names."
    )
    boot_parameters: tuple[str, ...] = setting(
        (), "Parameters of the boot file (option 60). UEFI PXE takes the first for its size, in blocks of 512 octets."
    )
    http_port: int = setting(0, "Port of the boot files in URLs; 0: the one of all subnets.")
    https: Trust = setting(
        Trust.UNSAID,
        "Who trusts the daemon's CA and gets https:// URLs: nobody (empty is the same), firmware (UEFI HTTP boot), "
        "ipxe (firmware, and an iPXE that was told of it). Needs http.tls_port.",
    )
    new_per_s: float = setting(50.0, "New unknown machines a second, per interface, by relays per subnet; 0: no limit.")
    new_burst: int = setting(500, "New unknown machines at once, per interface, by relays per subnet.")
    port_per_s: float = setting(1.0, "New unknown machines a second behind one switch port (option 18 or 37); 0: any.")
    port_burst: int = setting(16, "New unknown machines at once behind one switch port.")
    known_spare: int = setting(10, "Percent of the pool, rounded up, that only enrolled machines may use up.")
    router_advertisements: bool = setting(
        False,
        "Send router advertisements that point to DHCPv6: most clients ask for no address without one, and iPXE "
        "waits 15 seconds for it. Leave it to your router where there is one.",
    )
    ra_lifetime_s: int = setting(0, "Router lifetime in them, in seconds; 0: we are no IPv6 router.")

    @property
    def title(self) -> str:
        """The name that logs and leases carry."""
        return self.name or self.network


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation6:
    """A fixed IPv6 address for the machine that has all of `mac`, `uuid` and `duid` that are given."""

    address: str = setting("", "Address that only this machine gets.")
    mac: str = setting("", "Hardware address of the port, as its frames, its relay or its DUID tell it.")
    uuid: str = setting("", "SMBIOS UUID as Linux prints it; a DUID-UUID may have its bytes in either order.")
    duid: str = setting("", "DUID in hex, with or without colons.")
    name: str = setting("", "Host name, for leases and names in the DNS.")
    loader: Mapping[str, str] = setting({}, "Boot loader by architecture.")
    https: Trust = setting(
        Trust.UNSAID, "Who trusts the daemon's CA and gets https:// URLs; empty: as the subnet has it."
    )
