"""The resources that the service shows, rendered from the board (DSP0268 schemas). No I/O."""

from __future__ import annotations

import time

from provisioner.lab.board import FIRMWARE, Account, Board, Role
from provisioner.lab.chassis import Lifetime, Mode, Verb
from provisioner.lab.faults import Fault
from provisioner.lab.hardware import GIB, Identity
from provisioner.lab.redfish.answer import Body
from provisioner.model.bmc import BootTarget, Power

V1 = "/redfish/v1"
SYSTEM = f"{V1}/Systems/1"
MANAGER = f"{V1}/Managers/1"
CHASSIS = f"{V1}/Chassis/1"
SETTINGS_PATH = f"{SYSTEM}/Settings"
SETTINGS = {"@odata.type": "#Settings.v1_3_5.Settings", "SettingsObject": {"@odata.id": SETTINGS_PATH}}
LOG = f"{MANAGER}/LogServices/SEL"

TARGETS = {
    BootTarget.NONE: "None",
    BootTarget.PXE: "Pxe",
    BootTarget.HTTP: "UefiHttp",
    BootTarget.DISK: "Hdd",
    BootTarget.CD: "Cd",
    BootTarget.BIOS_SETUP: "BiosSetup",
}
LIFETIMES = {Lifetime.DISABLED: "Disabled", Lifetime.ONCE: "Once", Lifetime.CONTINUOUS: "Continuous"}
MODES = {Mode.UEFI: "UEFI", Mode.LEGACY: "Legacy"}
VERBS = {
    "On": Verb.ON,
    "ForceOff": Verb.OFF,
    "GracefulShutdown": Verb.SOFT_OFF,
    "ForceRestart": Verb.RESET,
    "PowerCycle": Verb.CYCLE,
    "Nmi": Verb.NMI,
}
ROLES = {Role.ADMINISTRATOR: "Administrator", Role.OPERATOR: "Operator", Role.USER: "ReadOnly"}
CONSOLES = 15
STATUS = {"State": "Enabled", "Health": "OK"}


def link(path: str) -> Body:
    return {"@odata.id": path}


def resource(path: str, kind: str, name: str, **rest: object) -> Body:
    """What every resource has, and the rest."""
    return {"@odata.id": path, "@odata.type": f"#{kind}", "Id": path.rsplit("/", 1)[-1], "Name": name, **rest}


def collection(path: str, kind: str, members: list[str]) -> Body:
    return {
        "@odata.id": path,
        "@odata.type": f"#{kind}Collection.{kind}Collection",
        "Name": f"{kind} Collection",
        "Members": [link(f"{path}/{member}") for member in members],
        "Members@odata.count": len(members),
    }


def identity_of(board: Board) -> Identity:
    return board.chassis.hardware.identity


def service_root(board: Board) -> Body:
    parts = (
        "Systems", "Chassis", "Managers", "AccountService", "SessionService", "TaskService", "UpdateService",
        "CertificateService", "Registries",
    )  # fmt: skip
    return resource(
        V1 + "/", "ServiceRoot.v1_15_0.ServiceRoot", "Root Service",
        RedfishVersion="1.15.0", UUID=identity_of(board).uuid, Vendor=identity_of(board).vendor,
        Product="Virtual Rack BMC", Links={"Sessions": link(f"{V1}/SessionService/Sessions")},
        ProtocolFeaturesSupported={"ExpandQuery": {"ExpandAll": False}, "FilterQuery": False, "SelectQuery": False},
        **{part: link(f"{V1}/{part}") for part in parts},
    ) | {"Id": "RootService"}  # fmt: skip


def system(board: Board) -> Body:
    identity, chassis = identity_of(board), board.chassis
    settings = {"@Redfish.Settings": SETTINGS} if board.faults.on(Fault.SETTINGS_OBJECT) else {}
    return settings | resource(
        SYSTEM, "ComputerSystem.v1_20_0.ComputerSystem", identity.name,
        SystemType="Physical", Manufacturer=identity.vendor, Model=identity.model, SerialNumber=identity.serial,
        UUID=identity.uuid, HostName="", AssetTag="", BiosVersion=identity.firmware.value, Status=STATUS,
        PowerState="On" if chassis.reading is Power.ON else "Off",
        IndicatorLED="Blinking" if board.locating else "Off", LocationIndicatorActive=board.locating,
        ProcessorSummary={"Count": 1, "CoreCount": identity.cpus, "Model": "QEMU TCG CPU", "Status": STATUS},
        MemorySummary={"TotalSystemMemoryGiB": identity.memory_bytes / GIB, "Status": STATUS},
        Boot=boot(board), Bios=link(f"{SYSTEM}/Bios"), SecureBoot=link(f"{SYSTEM}/SecureBoot"),
        EthernetInterfaces=link(f"{SYSTEM}/EthernetInterfaces"), Storage=link(f"{SYSTEM}/Storage"),
        Links={"Chassis": [link(CHASSIS)], "ManagedBy": [link(MANAGER)]}, SerialConsole=serial_console(board),
        Actions={"#ComputerSystem.Reset": {
            "target": f"{SYSTEM}/Actions/ComputerSystem.Reset", "ResetType@Redfish.AllowableValues": offered(board)}},
    )  # fmt: skip


def serial_console(board: Board) -> Body:
    """Where the serial console is."""
    found: Body = {
        "MaxConcurrentSessions": CONSOLES,
        "IPMI": {"ServiceEnabled": True, "Port": board.rmcp_port},
    }
    if board.ssh_port:
        shared = board.faults.on(Fault.CONSOLE_IN_SHELL)
        ssh: Body = {"ServiceEnabled": True, "Port": board.ssh_port, "SharedWithManagerCLI": shared}
        found["SSH"] = ssh | ({"ConsoleEntryCommand": "console"} if shared else {})
    return found


def offered(board: Board) -> list[str]:
    """The reset types of this board."""
    missing = {"PowerCycle"} if board.faults.on(Fault.NO_POWER_CYCLE) else set()
    return [name for name in VERBS if name not in missing]


def settings(board: Board) -> Body:
    """What is to hold from the next boot on, where the board keeps that apart."""
    return resource(SETTINGS_PATH, "ComputerSystem.v1_20_0.ComputerSystem", "Pending settings", Boot=boot(board))


def boot(board: Board) -> Body:
    """The boot override, and what this machine's firmware can be told."""
    override = board.chassis.override
    hardware = board.chassis.hardware
    own = Mode.UEFI if hardware.identity.firmware.is_uefi else Mode.LEGACY
    shown = override.mode or own if board.faults.on(Fault.MODE_RESET) else own
    return {
        "BootSourceOverrideEnabled": LIFETIMES[override.lifetime],
        "BootSourceOverrideEnabled@Redfish.AllowableValues": list(LIFETIMES.values()),
        "BootSourceOverrideTarget": TARGETS[override.next_boot().target],
        "BootSourceOverrideTarget@Redfish.AllowableValues": [
            text for target, text in TARGETS.items() if target in hardware.targets
        ],
        "BootSourceOverrideMode": MODES[shown],
        "BootSourceOverrideMode@Redfish.AllowableValues": [MODES[own]],
        "HttpBootUri": override.next_boot().uri or None,
    }


def nic(board: Board, number: str) -> Body | None:
    macs = identity_of(board).macs
    if not number.isdecimal() or not 1 <= int(number) <= len(macs):
        return None
    mac = macs[int(number) - 1]
    return resource(
        f"{SYSTEM}/EthernetInterfaces/{number}", "EthernetInterface.v1_9_0.EthernetInterface", f"NIC {number}",
        MACAddress=mac, PermanentMACAddress=mac, SpeedMbps=1000, Status=STATUS,
        LinkStatus="LinkUp" if board.chassis.power is Power.ON else "LinkDown", InterfaceEnabled=True,
    )  # fmt: skip


def chassis(board: Board) -> Body:
    identity = identity_of(board)
    return resource(
        CHASSIS, "Chassis.v1_22_0.Chassis", identity.name,
        ChassisType="RackMount", Manufacturer=identity.vendor, Model=identity.model, SerialNumber=identity.serial,
        PowerState="On" if board.chassis.reading is Power.ON else "Off", Status=STATUS,
        LocationIndicatorActive=board.locating, Thermal=link(f"{CHASSIS}/Thermal"), Power=link(f"{CHASSIS}/Power"),
        Links={"ComputerSystems": [link(SYSTEM)], "ManagedBy": [link(MANAGER)]},
    )  # fmt: skip


def thermal(board: Board) -> Body:
    """Temperatures and fans. A fan's reading counts hundreds (see the sensor records of IPMI)."""
    readings = {unit: [one for one in board.sensors if one.unit == unit] for unit in ("C", "RPM")}
    temperatures = [
        {"@odata.id": f"{CHASSIS}/Thermal#/Temperatures/{at}", "MemberId": str(at), "Name": one.name, "Status": STATUS,
         "ReadingCelsius": board.reading(one), "UpperThresholdCritical": one.high}
        for at, one in enumerate(readings["C"])
    ]  # fmt: skip
    fans = [
        {"@odata.id": f"{CHASSIS}/Thermal#/Fans/{at}", "MemberId": str(at), "Name": one.name, "Status": STATUS,
         "Reading": board.reading(one) * 100, "ReadingUnits": "RPM"}
        for at, one in enumerate(readings["RPM"])
    ]  # fmt: skip
    rest = {"Temperatures": temperatures, "Fans": fans}
    return resource(f"{CHASSIS}/Thermal", "Thermal.v1_7_1.Thermal", "Thermal", **rest)


def power(board: Board) -> Body:
    watts = [one for one in board.sensors if one.unit == "W"]
    control = [
        {"@odata.id": f"{CHASSIS}/Power#/PowerControl/{at}", "MemberId": str(at), "Name": one.name,
         "PowerConsumedWatts": board.reading(one)}
        for at, one in enumerate(watts)
    ]  # fmt: skip
    return resource(f"{CHASSIS}/Power", "Power.v1_7_1.Power", "Power", PowerControl=control)


def manager(board: Board) -> Body:
    return resource(
        MANAGER, "Manager.v1_17_0.Manager", "BMC",
        ManagerType="BMC", FirmwareVersion=FIRMWARE, UUID=identity_of(board).uuid, Status=STATUS, PowerState="On",
        EthernetInterfaces=link(f"{MANAGER}/EthernetInterfaces"), LogServices=link(f"{MANAGER}/LogServices"),
        NetworkProtocol=link(f"{MANAGER}/NetworkProtocol"), VirtualMedia=link(f"{MANAGER}/VirtualMedia"),
        SerialConsole={
            "ServiceEnabled": True, "MaxConcurrentSessions": CONSOLES,
            "ConnectTypesSupported": ["IPMI", *(["SSH"] if board.ssh_port else [])]},
        Links={"ManagerForServers": [link(SYSTEM)], "ManagerForChassis": [link(CHASSIS)]},
    )  # fmt: skip


def log_service(board: Board) -> Body:
    return resource(
        LOG, "LogService.v1_4_0.LogService", "System event log",
        Entries=link(f"{LOG}/Entries"), OverWritePolicy="WrapsWhenFull", Status=STATUS,
        Actions={"#LogService.ClearLog": {"target": f"{LOG}/Actions/LogService.ClearLog"}},
    )  # fmt: skip


def log_entry(board: Board, number: str) -> Body | None:
    event = next((one for one in board.chassis.events if str(one.number) == number), None)
    if event is None:
        return None
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(event.at))
    return resource(
        f"{LOG}/Entries/{number}", "LogEntry.v1_13_0.LogEntry", f"Entry {number}",
        EntryType="SEL", Created=at, Severity="OK", Message=event.what, MessageId="VirtualRack.1.0.ChassisEvent",
    )  # fmt: skip


def log_entries(board: Board) -> Body:
    numbers = [str(event.number) for event in board.chassis.events]
    listed = collection(f"{LOG}/Entries", "LogEntry", numbers)
    listed["Members"] = [log_entry(board, number) for number in numbers]
    return listed


def account_service(board: Board) -> Body:
    return resource(
        f"{V1}/AccountService", "AccountService.v1_12_0.AccountService", "Accounts",
        ServiceEnabled=True, MinPasswordLength=1, MaxPasswordLength=20, Status=STATUS,
        Accounts=link(f"{V1}/AccountService/Accounts"), Roles=link(f"{V1}/AccountService/Roles"),
    )  # fmt: skip


def account(board: Board, slot: str) -> Body | None:
    found = board.accounts.get(int(slot)) if slot.isdecimal() else None
    return None if found is None or not found.name else account_body(found)


def account_body(account: Account) -> Body:
    role = ROLES.get(account.role, "None")
    return resource(
        f"{V1}/AccountService/Accounts/{account.slot}", "ManagerAccount.v1_10_0.ManagerAccount", "User account",
        UserName=account.name, Password=None, RoleId=role, Enabled=account.enabled, Locked=False,
        AccountTypes=["Redfish"],
        Links={"Role": link(f"{V1}/AccountService/Roles/{role}")},
    )  # fmt: skip


def role(board: Board, name: str) -> Body | None:
    if name not in ROLES.values():
        return None
    privileges = {
        "Administrator": ["Login", "ConfigureManager", "ConfigureUsers", "ConfigureComponents", "ConfigureSelf"],
        "Operator": ["Login", "ConfigureComponents", "ConfigureSelf"],
        "ReadOnly": ["Login", "ConfigureSelf"],
    }  # fmt: skip
    path = f"{V1}/AccountService/Roles/{name}"
    rest = {"RoleId": name, "IsPredefined": True, "AssignedPrivileges": privileges[name]}
    return resource(path, "Role.v1_3_1.Role", name, **rest)
