"""The actions of a run, carried out by BMC verbs. Each brings about an end state; doing it twice does no harm."""

from __future__ import annotations

import time

from provisioner.errors import BmcError, ProvisionerError
from provisioner.lifecycle.plans import ENSURES
from provisioner.lifecycle.ports import Bmcs
from provisioner.lifecycle.steps import Perform
from provisioner.model.bmc import BmcAddress, BootTarget, Power
from provisioner.model.machine import Machine
from provisioner.model.trace import Channel, Observe, TraceLine
from provisioner.store.secrets import Secrets


def secret_name(machine_id: str) -> str:
    """Name the secret that holds the password of a machine's BMC."""
    return f"bmc/{machine_id}"


class Actions:
    """Performs what `lifecycle.steps` asks for."""

    def __init__(self, bmcs: Bmcs, secrets: Secrets, observe: Observe) -> None:
        self._bmcs = bmcs
        self._secrets = secrets
        self._observe = observe

    async def perform(self, machine: Machine, action: Perform) -> str:
        """Bring about what a step ensures; return a note for the journal. Raises `BmcError`."""
        wanted = ENSURES.get(action.step.name) or network_target(machine)
        address, password = await self._login(machine)
        started = time.monotonic()
        try:
            match wanted:
                case Power():
                    await self._bmcs.set_power(address, password, wanted)
                    note = f"power is {wanted}"
                case BootTarget.DISK:
                    await self._bmcs.boot_always(address, password, wanted)
                    note = "boots from disk from now on"
                case _:
                    await self._bmcs.boot_once(address, password, wanted)
                    note = f"boots from the network once ({wanted})"
        except BmcError as error:
            self._see(machine, f"bmc.{action.step.name}", f"{action.step.name} failed: {error.message}", ok=False)
            raise
        self._see(machine, f"bmc.{action.step.name}", f"{note}, {time.monotonic() - started:.1f} s")
        return note

    async def look(self, machine: Machine) -> Power:
        """Read the power. Raises `BmcError`."""
        address, password = await self._login(machine)
        return await self._bmcs.power(address, password)

    async def power(self, machine: Machine, verb: str) -> Power:
        """Do what an operator asked of the power, and say what it is then."""
        address, password = await self._login(machine)
        match verb:
            case "on" | "off":
                await self._bmcs.set_power(address, password, Power(verb))
            case "cycle":
                await self._bmcs.set_power(address, password, Power.OFF)
                await self._bmcs.set_power(address, password, Power.ON)
            case "reset":
                await self._bmcs.reset(address, password)
        power = await self._bmcs.power(address, password)
        self._see(machine, f"bmc.power.{verb}", f"power {verb} asked for, it is {power}")
        return power

    async def _login(self, machine: Machine) -> tuple[BmcAddress, str]:
        if machine.bmc is None:
            hint = f"`provisionctl enrol {machine.name} --bmc ipmi://USER@HOST` or redfish://"
            raise ProvisionerError(f"{machine.name} has no BMC on record", hint=hint)
        return machine.bmc, await self._secrets.get(secret_name(machine.id))

    def _see(self, machine: Machine, event: str, text: str, ok: bool = True) -> None:
        run = machine.run.id if machine.run and machine.run.step else ""
        self._observe(TraceLine(time.time(), Channel.BMC, event, text, None, machine.id, run, ok))


def network_target(machine: Machine) -> BootTarget:
    """Say which network boot a machine's BMC is asked for."""
    return BootTarget.HTTP if machine.boot_via == "http" else BootTarget.PXE
