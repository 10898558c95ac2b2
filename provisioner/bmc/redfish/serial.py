"""How a board says that its serial console is reached by SSH (DSP0268: ComputerSystem and Manager). No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.bmc.redfish.answers import Resource

SSH_PORT = 22


@dataclass(frozen=True, slots=True)
class SshOffer:
    """Where the console is; `command` is typed first where the board's own shell answers there."""

    port: int
    command: str = ""


def of_system(system: Resource, quirk: str) -> SshOffer | str | None:
    """Read ComputerSystem.SerialConsole (since 1.13); a text says why there is none, None that it does not tell.

    `quirk` is the command for boards that do not name one.
    """
    ssh = Resource("", Resource("", system.table("SerialConsole")).table("SSH"))
    if not ssh.data:
        return None
    if ssh.data.get("ServiceEnabled") is False:
        return "consoles by SSH are switched off at the BMC"
    command = ""
    if ssh.data.get("SharedWithManagerCLI") is True:
        command = ssh.text("ConsoleEntryCommand") or quirk
        if not command:
            return "its SSH leads to the BMC's own shell, and it does not say by which command to the console"
    return SshOffer(_port(ssh), command)


def of_manager(manager: Resource, protocols: Resource, quirk: str) -> SshOffer | str:
    """Read Manager.SerialConsole, which names no command: one has to be known of the board."""
    console = Resource("", manager.table("SerialConsole"))
    if "SSH" not in console.texts("ConnectTypesSupported"):
        return "the board offers no console by SSH"
    ssh = Resource("", protocols.table("SSH"))
    if console.data.get("ServiceEnabled") is False or ssh.data.get("ProtocolEnabled") is False:
        return "consoles by SSH are switched off at the BMC"
    if not quirk:
        return "it offers a console by SSH, and does not say by which command"
    return SshOffer(_port(ssh), quirk)


def _port(ssh: Resource) -> int:
    port = ssh.data.get("Port")
    return port if isinstance(port, int) and 0 < port < 65536 else SSH_PORT
