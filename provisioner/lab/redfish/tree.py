"""Which path is which resource, and who may do what to it. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from provisioner.lab.board import Board, Role
from provisioner.lab.faults import Fault
from provisioner.lab.redfish import changes, firmware, manager, media, resources, storage
from provisioner.lab.redfish.answer import Answer, Body
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
    storage.STORAGE: storage.storage,
    storage.VOLUMES: storage.volumes,
    firmware.BIOS: firmware.bios,
    firmware.BIOS_SETTINGS: firmware.bios_settings,
    firmware.REGISTRIES: firmware.registries,
    firmware.REGISTRY: firmware.registry_file,
    f"{firmware.REGISTRY}/BiosAttributes.json": firmware.registry,
    firmware.SECURE_BOOT: firmware.secure_boot,
    firmware.DATABASES: firmware.databases,
    firmware.UPDATE: firmware.update_service,
    firmware.INVENTORY: firmware.inventory,
    f"{V1}/Chassis": lambda _: collection(f"{V1}/Chassis", "Chassis", ["1"]),
    CHASSIS: resources.chassis,
    f"{CHASSIS}/Thermal": resources.thermal,
    f"{CHASSIS}/Power": resources.power,
    f"{V1}/Managers": lambda _: collection(f"{V1}/Managers", "Manager", ["1"]),
    MANAGER: resources.manager,
    f"{MANAGER}/EthernetInterfaces": lambda _: collection(f"{MANAGER}/EthernetInterfaces", "EthernetInterface", ["1"]),
    manager.PORT: manager.port,
    manager.PROTOCOLS: manager.protocols,
    manager.CERTIFICATES: manager.certificates,
    manager.CERTIFICATE: manager.certificate,
    manager.SERVICE: manager.service,
    manager.LOCATIONS: manager.locations,
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
    storage.DRIVES: storage.drive,
    storage.VOLUMES: storage.volume,
    firmware.DATABASES: firmware.database,
    firmware.INVENTORY: firmware.component,
    f"{V1}/AccountService/Accounts": resources.account,
    f"{V1}/AccountService/Roles": resources.role,
}


def render(path: str, board: Board) -> Body | None:
    """The resource at `path` (no slash at its end); None where there is none."""
    if path == SETTINGS_PATH and not board.faults.on(Fault.SETTINGS_OBJECT):
        return None
    if path in STATIC:
        return STATIC[path](board)
    if firmware.key_path(path) is not None:
        return firmware.keys(board, path)
    parent, _, member = path.rpartition("/")
    return MEMBERS[parent](board, member) if parent in MEMBERS else None


PATCHES: Mapping[str, tuple[Role, Change]] = {
    SYSTEM: (Role.OPERATOR, changes.patch_system),
    SETTINGS_PATH: (Role.OPERATOR, changes.patch_settings),
    firmware.BIOS_SETTINGS: (Role.OPERATOR, firmware.patch_bios),
    firmware.SECURE_BOOT: (Role.ADMINISTRATOR, firmware.patch_secure_boot),
    manager.PORT: (Role.ADMINISTRATOR, manager.patch_port),
    manager.PROTOCOLS: (Role.ADMINISTRATOR, manager.patch_protocols),
}

POSTS: Mapping[str, tuple[Role, Change]] = {
    f"{SYSTEM}/Actions/ComputerSystem.Reset": (Role.OPERATOR, changes.reset),
    f"{LOG}/Actions/LogService.ClearLog": (Role.OPERATOR, changes.clear_log),
    f"{media.CD}/Actions/VirtualMedia.InsertMedia": (Role.OPERATOR, media.insert),
    f"{media.CD}/Actions/VirtualMedia.EjectMedia": (Role.OPERATOR, media.eject),
    ACCOUNTS_PATH: (Role.ADMINISTRATOR, changes.create_account),
    firmware.RESET_BIOS: (Role.OPERATOR, firmware.reset_bios),
    firmware.RESET_KEYS: (Role.ADMINISTRATOR, firmware.reset_keys),
    firmware.SIMPLE_UPDATE: (Role.ADMINISTRATOR, firmware.simple_update),
    firmware.PUSH: (Role.ADMINISTRATOR, firmware.push),
    manager.GENERATE: (Role.ADMINISTRATOR, manager.generate),
    manager.REPLACE: (Role.ADMINISTRATOR, manager.replace),
    storage.VOLUMES: (Role.OPERATOR, storage.create_volume),
}


def post(path: str, board: Board) -> tuple[Role, Change] | None:
    """What a POST to `path` does, and who may; None where nothing takes one."""
    if path in POSTS:
        return POSTS[path]
    key = firmware.key_path(path)
    if key is not None and not key[1] and key[0] in board.settings.keys:
        return Role.ADMINISTRATOR, lambda board, body: firmware.add_key(board, path, body)
    drive, _, action = path.removeprefix(f"{storage.DRIVES}/").partition("/")
    if action == "Actions/Drive.SecureErase" and drive in storage.drive_numbers(board):
        return Role.OPERATOR, lambda board, _: storage.erase(board, drive)
    return None


def delete(path: str, board: Board) -> tuple[Role, Callable[[], Answer]] | None:
    """What a DELETE of a resource does, and who may; None where it cannot be deleted."""
    parent, _, member = path.rpartition("/")
    if parent == storage.VOLUMES:
        return Role.OPERATOR, lambda: storage.delete_volume(board, member)
    if (key := firmware.key_path(path)) is not None and key[1]:
        return Role.ADMINISTRATOR, lambda: firmware.delete_key(board, path)
    return None
