"""The libvirt driver: `virsh` as the way to the hypervisor, a domain's definition as the boot override.

"Once" is kept exact: when the machine starts, its definition and the running QEMU get their own order back, which
counts from the next restart on. Addresses: libvirt://localhost/NAME is this host's qemu:///system,
libvirt://USER@HOST/NAME goes by ssh with keys, libvirt://default/NAME leaves the choice to LIBVIRT_DEFAULT_URI.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Sequence
from urllib.parse import quote
from xml.etree import ElementTree as ET

from provisioner.bmc.ensure import PATIENCE, Patience, ensure_power
from provisioner.bmc.libvirt.domain import (
    FIRST,
    NOTHING,
    bootable,
    facts_of,
    is_spent,
    override_of,
    own_order,
    parse,
    set_override,
)
from provisioner.bmc.verbs import Press
from provisioner.errors import (
    BmcAuthError,
    BmcError,
    BmcProtocolError,
    BmcTimeout,
    BmcUnreachable,
    BmcUnsupported,
    BmcWrongState,
    WireError,
)
from provisioner.model.bmc import BmcAddress, BmcIdentity, BootOverride, BootTarget, Power
from provisioner.model.board import Inventory

COMMAND_S = 60.0
DEFINED = "--inactive", "--security-info"
OFF = frozenset({"shut off", "crashed"})
VERBS = {
    Press.ON: "start",
    Press.OFF: "destroy",
    Press.SOFT_OFF: "shutdown",
    Press.RESET: "reset",
    Press.NMI: "inject-nmi",
}

_SAID: tuple[tuple[str, type[BmcError]], ...] = (
    ("failed to connect", BmcUnreachable),
    ("Cannot recv data", BmcUnreachable),
    ("authentication", BmcAuthError),
    ("Permission denied", BmcAuthError),
    ("failed to get domain", BmcUnsupported),
    ("not running", BmcWrongState),
    ("already running", BmcWrongState),
    ("already active", BmcWrongState),
    ("not supported", BmcUnsupported),
)
"""What virsh says, and what a caller can do about it."""


class Libvirt:
    """One virtual machine (`verbs.Bmc`)."""

    LACKS = frozenset(
        {"power.cycle"} | {f"boot.{how}.{what}" for how in ("once", "always") for what in ("http", "bios-setup")}
    )
    """Verbs whose method is there for others. A cycle is two requests here."""

    def __init__(self, address: BmcAddress, *, gate: asyncio.Semaphore, patience: Patience = PATIENCE) -> None:
        self._address = address
        self._gate = gate
        self._patience = patience
        self._order = asyncio.Lock()
        self.pressed_at: float | None = None

    @property
    def address(self) -> BmcAddress:
        """Say which domain this is."""
        return self._address

    async def whose(self) -> BmcIdentity:
        """Say what tells it from others."""
        return await self.identify()

    async def identify(self) -> BmcIdentity:
        """Read the domain's UUID, machine type, and the hypervisor's version."""
        facts = facts_of(await self._domain("identify"))
        version = (await self._virsh("identify", "version")).rstrip().rsplit(" ", 1)[-1]
        return BmcIdentity(facts.uuid, facts.vendor, facts.product, firmware=version)

    async def inventory(self) -> Inventory:
        """Return what the domain is made of."""
        return Inventory(facts_of(await self._domain("inventory.read")))

    async def power(self) -> Power:
        """Read the domain's state."""
        state = (await self._virsh("power.status", "domstate", self._address.system)).strip()
        return Power.OFF if state in OFF else Power.ON

    async def press(self, press: Press) -> None:
        """Start, destroy, shut down, reset or interrupt the domain."""
        verb = f"power.{press}"
        if press not in VERBS:
            raise BmcUnsupported(f"{self._address}: {verb}: libvirt has no such request", hint="nothing was done")
        self.pressed_at = asyncio.get_running_loop().time()
        wanted = await self._asked_for(verb) if press in (Press.ON, Press.RESET) else NOTHING
        if wanted.once and press is Press.RESET:
            await self._order_running(verb, wanted.target)
        await self._virsh(verb, VERBS[press], self._address.system)
        if wanted.once:
            await self._spend(verb)

    async def set_power(self, wanted: Power) -> None:
        """Bring the domain to `wanted` and see it there."""
        await ensure_power(self, wanted, self._patience)
        if wanted is Power.ON:
            await self._asked_for("power.on")  # it may have been on, by a start that was cut short

    async def reset(self) -> None:
        """Reset a running domain."""
        if await self.power() is Power.OFF:
            raise BmcWrongState(f"{self._address}: power.reset: the machine is off", hint="power it on instead")
        await self.press(Press.RESET)

    async def boot_once(self, target: BootTarget, uri: str = "", *, uefi: bool | None = None) -> None:
        """Put a device first for the next start or reset."""
        await self._boot(BootOverride(target, once=True), uri)

    async def boot_always(self, target: BootTarget, uri: str = "", *, uefi: bool | None = None) -> None:
        """Put a device first from the next start on."""
        await self._boot(BootOverride(target, once=False), uri)

    async def boot_override(self) -> BootOverride:
        """Read what was asked for."""
        return await self._asked_for("boot.read")

    async def close(self) -> None:
        """There is no session."""

    async def _boot(self, wanted: BootOverride, uri: str) -> None:
        verb = f"boot.{'once' if wanted.once else 'always'}.{wanted.target}"
        if uri:
            raise BmcUnsupported(f"{self._address}: {verb}: libvirt takes no boot URI", hint="nothing was done")
        domain = await self._domain(verb)
        try:
            set_override(domain, wanted, secrets.token_hex(8))
        except BmcUnsupported as error:
            raise BmcUnsupported(f"{self._address}: {verb}: {error.message}", hint=error.hint) from error
        await self._define(verb, domain)
        got = await self.boot_override()
        if got.target is not wanted.target or (wanted.target is not BootTarget.NONE and got.once is not wanted.once):
            raise BmcProtocolError(f"{self._address}: {verb}: taken, but it reads back {got.target}")

    async def _asked_for(self, verb: str) -> BootOverride:
        """Read what is asked for. One boot's that the running machine was started by ends here: a crash may keep it."""
        domain = await self._domain(verb)
        try:
            wanted = override_of(domain)
        except WireError as error:
            raise BmcProtocolError(f"{self._address}: {verb}: {error.message}") from error
        if wanted.once and is_spent(domain, await self._running(verb)):
            await self._spend(verb)
            return NOTHING
        return wanted

    async def _spend(self, verb: str) -> None:
        """End an override for one boot: the machine that runs now restarts by its own order, so does the next one."""
        domain = await self._domain(verb)
        set_override(domain, NOTHING)
        await self._define(verb, domain)
        await self._order_running(verb, BootTarget.NONE)

    async def _order_running(self, verb: str, target: BootTarget) -> None:
        """Give the running QEMU another order; from its next reset on. No index may stand twice: none first."""
        live = await self._running(verb)
        own = own_order(await self._domain(verb))
        first = [FIRST[target]] if target in FIRST else []
        kinds = first + [kind for kind in own if kind not in first]
        devices = [one for one in bootable(live) if one.alias]
        ranked = [one for kind in kinds for one in devices if one.kind == kind]
        for device in devices:
            await self._bootindex(verb, device.alias, -1)
        for place, device in enumerate(ranked, 1):
            await self._bootindex(verb, device.alias, place)

    async def _bootindex(self, verb: str, alias: str, place: int) -> None:
        arguments = {"path": f"/machine/peripheral/{alias}", "property": "bootindex", "value": place}
        command = json.dumps({"execute": "qom-set", "arguments": arguments})
        answer = await self._virsh(verb, "qemu-monitor-command", self._address.system, command)
        if '"error"' in answer:
            raise BmcProtocolError(
                f"{self._address}: {verb}: QEMU refused the order of {alias}: {answer.strip()[:200]}"
            )

    async def _domain(self, verb: str) -> ET.Element:
        """Read the domain's definition, with what only its owner may see: it is defined anew from it."""
        return self._parsed(verb, await self._virsh(verb, "dumpxml", self._address.system, *DEFINED))

    async def _running(self, verb: str) -> ET.Element:
        """Read the domain as it runs; as it is defined where it does not."""
        return self._parsed(verb, await self._virsh(verb, "dumpxml", self._address.system))

    async def _define(self, verb: str, domain: ET.Element) -> None:
        ET.register_namespace("provisioner", "urn:provisioner:boot:1")
        await self._virsh(verb, "define", "/dev/stdin", given=ET.tostring(domain))

    def _parsed(self, verb: str, text: str) -> ET.Element:
        try:
            return parse(text)
        except WireError as error:
            raise BmcProtocolError(f"{self._address}: {verb}: {error.message}") from error

    async def _virsh(self, verb: str, *arguments: str, given: bytes = b"") -> str:
        """Run one command; raise what it says went wrong."""
        where = f"{self._address}: {verb}"
        async with self._order, self._gate:
            try:
                process = await asyncio.create_subprocess_exec(
                    "virsh", "-q", *connect(self._address), *arguments, stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise BmcUnreachable(f"{where}: virsh: {error.strerror}", hint="install libvirt-clients") from error
            try:
                async with asyncio.timeout(COMMAND_S):
                    out, err = await process.communicate(given)
            except TimeoutError as error:
                raise BmcTimeout(f"{where}: virsh {arguments[0]} ran for {COMMAND_S:.0f} s") from error
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.communicate()  # to the end of its output: a pipe that is left open outlives the loop
        if process.returncode:
            raise _failure(where, err.decode(errors="replace"))
        return out.decode(errors="replace")


def _failure(where: str, said: str) -> BmcError:
    words = " ".join(said.replace("error: ", "").split())[:300]
    kind = next((kind for text, kind in _SAID if text in words), BmcError)
    return kind(f"{where}: {words or 'virsh failed without a word'}")


def connect(address: BmcAddress) -> Sequence[str]:
    """Say where the hypervisor is, as virsh takes it."""
    if address.host == "default":
        return ()
    if address.host in ("localhost", "127.0.0.1", "::1"):
        return "-c", "qemu:///system"
    user = f"{quote(address.username, safe='')}@" if address.username else ""  # a query names commands to run here
    host = f"[{address.host}]" if ":" in address.host else address.host
    port = f":{address.port}" if address.port else ""
    return "-c", f"qemu+ssh://{user}{host}{port}/system?no_tty=1"
