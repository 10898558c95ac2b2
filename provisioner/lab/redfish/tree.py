"""Which path is which resource, and who may do what to it. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from provisioner.lab.board import Board, Role
from provisioner.lab.faults import Fault
from provisioner.lab.redfish import changes, media, resources
from provisioner.lab.redfish.answer import Body
from provisioner.lab.redfish.changes import ACCOUNTS_PATH, Change
from provisioner.lab.redfish.resources import (
    CHASSIS,
    LOG,
    MANAGER,
    ROLES,
    SETTINGS_PATH,
    SYSTEM,
    V1,
    collection,
    identity_of,
)

STATIC: Mapping[str, Callable[[Board], Body]] = {
    V1: resources.service_root,
    f"{V1}/Systems": lambda _: collection(f"{V1}/Systems", "ComputerSystem", ["1"]),
    SYSTEM: resources.system,
    SETTINGS_PATH: resources.settings,
    f"{SYSTEM}/EthernetInterfaces": lambda board: collection(
        f"{SYSTEM}/EthernetInterfaces", "EthernetInterface", [str(at + 1) for at in range(len(identity_of(board).macs))]
    ),
    f"{SYSTEM}/Storage": lambda _: collection(f"{SYSTEM}/Storage", "Storage", ["1"]),
    f"{SYSTEM}/Storage/1": resources.storage,
    f"{SYSTEM}/Storage/1/Drives/1": resources.drive,
    f"{V1}/Chassis": lambda _: collection(f"{V1}/Chassis", "Chassis", ["1"]),
    CHASSIS: resources.chassis,
    f"{CHASSIS}/Thermal": resources.thermal,
    f"{CHASSIS}/Power": resources.power,
    f"{V1}/Managers": lambda _: collection(f"{V1}/Managers", "Manager", ["1"]),
    MANAGER: resources.manager,
    f"{MANAGER}/EthernetInterfaces": lambda _: collection(f"{MANAGER}/EthernetInterfaces", "EthernetInterface", ["1"]),
    f"{MANAGER}/EthernetInterfaces/1": resources.manager_nic,
    f"{MANAGER}/NetworkProtocol": resources.protocols,
    f"{MANAGER}/LogServices": lambda _: collection(f"{MANAGER}/LogServices", "LogService", ["SEL"]),
    media.MEDIA: media.drives,
    media.CD: media.drive,
    f"{V1}/TaskService": media.task_service,
    media.TASKS: media.tasks,
    LOG: resources.log_service,
    f"{LOG}/Entries": resources.log_entries,
    f"{V1}/AccountService": resources.account_service,
    f"{V1}/AccountService/Accounts": lambda board: collection(
        f"{V1}/AccountService/Accounts", "ManagerAccount", [str(one.slot) for one in board.accounts if one.name]
    ),
    f"{V1}/AccountService/Roles": lambda _: collection(f"{V1}/AccountService/Roles", "Role", list(ROLES.values())),
}

MEMBERS: Mapping[str, Callable[[Board, str], Body | None]] = {
    f"{SYSTEM}/EthernetInterfaces": resources.nic,
    f"{LOG}/Entries": resources.log_entry,
    media.TASKS: media.task,
    f"{V1}/AccountService/Accounts": resources.account,
    f"{V1}/AccountService/Roles": resources.role,
}


def render(path: str, board: Board) -> Body | None:
    """The resource at `path` (no slash at its end); None where there is none."""
    if path == SETTINGS_PATH and not board.faults.on(Fault.SETTINGS_OBJECT):
        return None
    if path in STATIC:
        return STATIC[path](board)
    parent, _, member = path.rpartition("/")
    return MEMBERS[parent](board, member) if parent in MEMBERS else None


PATCHES: Mapping[str, tuple[Role, Change]] = {
    SYSTEM: (Role.OPERATOR, changes.patch_system),
    SETTINGS_PATH: (Role.OPERATOR, changes.patch_settings),
}

POSTS: Mapping[str, tuple[Role, Change]] = {
    f"{SYSTEM}/Actions/ComputerSystem.Reset": (Role.OPERATOR, changes.reset),
    f"{LOG}/Actions/LogService.ClearLog": (Role.OPERATOR, changes.clear_log),
    f"{media.CD}/Actions/VirtualMedia.InsertMedia": (Role.OPERATOR, media.insert),
    f"{media.CD}/Actions/VirtualMedia.EjectMedia": (Role.OPERATOR, media.eject),
    ACCOUNTS_PATH: (Role.ADMINISTRATOR, changes.create_account),
}
