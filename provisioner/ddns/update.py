"""Dynamic updates to one DNS server (RFC 2136, TSIG by RFC 8945). Home of dnspython."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Sequence
from ipaddress import ip_address

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update
from dns.rdtypes.IN.DHCID import DHCID

from provisioner.ddns.key import Key
from provisioner.ddns.names import Owner, dhcid, reverse_name, zone_of
from provisioner.ddns.settings import Conflict, Dns
from provisioner.errors import DnsError

TIMEOUT_S = 5.0
for _type in ("A", "AAAA", "DHCID"):  # read now: dnspython would import them on the loop
    importlib.import_module(f"dns.rdtypes.IN.{_type}")
for _type in ("PTR", "SOA", "TSIG", "OPT"):
    importlib.import_module(f"dns.rdtypes.ANY.{_type}")
dns.asyncbackend.get_backend("asyncio")

_MEANING = {
    dns.rcode.REFUSED: "it refuses our updates: allow them for the key or the address that they come from",
    dns.rcode.NOTAUTH: "it is not the primary server of that zone",
    dns.rcode.NOTZONE: "a name does not lie in the zone",
    dns.rcode.NOTIMP: "it does not know dynamic updates",
    dns.rcode.SERVFAIL: "it failed: its log says why (often a journal that it cannot write)",
}
_SIGNATURES: tuple[tuple[type[Exception], str], ...] = (
    (dns.tsig.PeerBadKey, "it does not know our key"),
    (dns.tsig.PeerBadSignature, "the secret of our key is not its own"),
    (dns.tsig.PeerBadTime, "its clock and ours differ too much"),
    (dns.tsig.PeerError, "it does not take our signature"),
    (dns.tsig.BadSignature, "its answer is signed with another secret"),
    (dns.exception.Timeout, "it does not answer"),
)


class Updates:
    """Says names and addresses to one server. Every call is safe to repeat, and raises `DnsError` where it failed."""

    def __init__(self, settings: Dns, key: Key | None, timeout_s: float = TIMEOUT_S) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._key = key

    async def add(self, name: str, owner: Owner, addresses: Sequence[bytes]) -> bool:
        """Give a name its addresses, all of one family; False where the name is not its owner's (RFC 4703 section 5.3).

        The first address is new: its PTR record is written, too.
        """
        zone = zone_of(name, self._settings.forward)
        for _ in range(2):  # the name may vanish between the two questions
            if await self._send(self._first(zone, name, owner, addresses)) is dns.rcode.NOERROR:
                break
            answer = await self._send(self._again(zone, name, owner, addresses))
            if answer is dns.rcode.NOERROR:
                break
            if answer is dns.rcode.NXRRSET:
                return False
        else:
            return False
        await self._point(addresses[0], name)
        return True

    async def remove(self, name: str, owner: Owner, address: bytes) -> None:
        """Take an address away from a name, and the name with its last one, where it is its owner's (section 5.5)."""
        if pointer := zone_of(reverse_name(address), self._settings.reverse):
            update = self._update(pointer)
            update.present(reverse_name(address), "PTR", name)
            update.delete(reverse_name(address), "PTR")
            await self._send(update)
        zone = zone_of(name, self._settings.forward)
        if not zone:
            return  # the zone is not ours any more
        update = self._update(zone)
        update.present(name, _dhcid(owner, name))
        update.delete(name, _type_of(address), str(ip_address(address)))
        if await self._send(update) is not dns.rcode.NOERROR:
            return
        update = self._update(zone)
        update.present(name, _dhcid(owner, name))
        for kind in ("A", "AAAA"):
            update.absent(name, kind)
        update.delete(name)
        await self._send(update)

    def _first(self, zone: str, name: str, owner: Owner, addresses: Sequence[bytes]) -> dns.update.UpdateMessage:
        """Make a name that nobody has."""
        update = self._update(zone)
        update.absent(name)
        self._fill(update, name, addresses)
        update.add(name, self._settings.ttl_s, _dhcid(owner, name))
        return update

    def _again(self, zone: str, name: str, owner: Owner, addresses: Sequence[bytes]) -> dns.update.UpdateMessage:
        """Change a name that is its owner's, or anybody's of ours."""
        update = self._update(zone)
        if self._settings.conflict is Conflict.DHCID:
            update.present(name, _dhcid(owner, name))
        else:
            update.present(name, "DHCID")
            update.delete(name, "DHCID")
            update.add(name, self._settings.ttl_s, _dhcid(owner, name))
        update.delete(name, _type_of(addresses[0]))
        self._fill(update, name, addresses)
        return update

    def _fill(self, update: dns.update.UpdateMessage, name: str, addresses: Sequence[bytes]) -> None:
        for address in addresses:
            update.add(name, self._settings.ttl_s, _type_of(address), str(ip_address(address)))

    async def _point(self, address: bytes, name: str) -> None:
        """Write an address's PTR record: whose address it is follows from the lease (RFC 4703 section 5.4)."""
        if zone := zone_of(reverse_name(address), self._settings.reverse):
            update = self._update(zone)
            update.replace(reverse_name(address), self._settings.ttl_s, "PTR", name)
            await self._send(update)

    def _update(self, zone: str) -> dns.update.UpdateMessage:
        key = self._key
        if key is None:
            return dns.update.UpdateMessage(f"{zone}.")
        algorithm = dns.tsig.HMAC_MD5 if key.algorithm == "hmac-md5" else dns.name.from_text(key.algorithm)
        signed = dns.tsig.Key(key.name, key.secret, algorithm)
        return dns.update.UpdateMessage(f"{zone}.", keyring=signed, keyname=signed.name, keyalgorithm=algorithm)

    async def _send(self, update: dns.update.UpdateMessage) -> dns.rcode.Rcode:
        """Send an update; the answer where it says that it was done, or that a condition did not hold."""
        where = f"{self._settings.server} port {self._settings.port}"
        try:
            answer, _ = await dns.asyncquery.udp_with_fallback(
                update, self._settings.server, self._timeout_s, self._settings.port, ignore_unexpected=True
            )
        except (dns.exception.DNSException, OSError, EOFError) as error:  # the last: it hung up in its answer by TCP
            raise DnsError(f"{where}: {_reason(error)}") from error
        rcode = answer.rcode()
        if rcode in (dns.rcode.NOERROR, dns.rcode.YXDOMAIN, dns.rcode.NXDOMAIN, dns.rcode.NXRRSET, dns.rcode.YXRRSET):
            return rcode
        zone = update.zone[0].name.to_text(omit_final_dot=True)
        meaning = _MEANING.get(rcode, "it did not do it")
        raise DnsError(f"{where}: zone {zone}: {meaning} ({dns.rcode.to_text(rcode)})")


def _reason(error: Exception) -> str:
    for kind, text in _SIGNATURES:
        if isinstance(error, kind):
            return text
    with contextlib.suppress(AttributeError):
        return str(error.strerror) or str(error)  # type: ignore[attr-defined]
    return f"{type(error).__name__}: {error}"


def _type_of(address: bytes) -> str:
    return "A" if len(address) == 4 else "AAAA"


def _dhcid(owner: Owner, name: str) -> DHCID:
    return DHCID(dns.rdataclass.IN, dns.rdatatype.DHCID, dhcid(owner, name))  # type: ignore[no-untyped-call]
