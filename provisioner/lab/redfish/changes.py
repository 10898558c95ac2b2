"""What PATCH, POST and DELETE do to the board. Each change is checked as a whole before any of it happens. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from provisioner.lab.board import ACCOUNTS, Account, Board, Role
from provisioner.lab.chassis import Lifetime, Mode, Override
from provisioner.lab.faults import Fault
from provisioner.lab.hardware import BootChoice
from provisioner.lab.redfish import media, resources
from provisioner.lab.redfish.answer import Answer, Body, Refusal
from provisioner.lab.redfish.resources import LIFETIMES, MODES, ROLES, TARGETS, V1, VERBS
from provisioner.model.bmc import BootTarget

ACCOUNTS_PATH = f"{V1}/AccountService/Accounts"
FIRST_SLOT = 2
URI_BYTES = 1024

T = TypeVar("T")
Change = Callable[[Board, Body], Answer]


def _named(table: Mapping[T, str], text: object, name: str) -> T:
    """The key of `table` that a request names."""
    found = next((key for key, value in table.items() if value == text), None)
    if found is None:
        raise Refusal(400, "PropertyValueNotInList", f"The value {text!r} of {name} is not in the list of values.")
    return found


def _refuse_unknown(body: Body, known: frozenset[str]) -> None:
    unknown = sorted(set(body) - known)
    if unknown:
        raise Refusal(400, "PropertyUnknown", f"The property {unknown[0]} is not known or cannot be changed.")


def patch_system(board: Board, body: Body) -> Answer:
    """Boot override and locate LED."""
    _refuse_unknown(body, frozenset({"Boot", "IndicatorLED", "LocationIndicatorActive"}))
    if "Boot" in body and board.faults.on(Fault.SETTINGS_OBJECT):
        raise Refusal(400, "PropertyNotWritable", "Boot is changed in the settings object.")
    override = _override(board, body["Boot"]) if "Boot" in body else None
    if "LocationIndicatorActive" in body:
        board.locating = bool(body["LocationIndicatorActive"])
    if "IndicatorLED" in body:
        board.locating = body["IndicatorLED"] != "Off"
    if override is not None:
        board.chassis.set_override(override)
    return Answer(200, resources.system(board))


def patch_settings(board: Board, body: Body) -> Answer:
    """The boot override, on boards that keep it in a settings object."""
    _refuse_unknown(body, frozenset({"Boot"}))
    board.chassis.set_override(_override(board, body.get("Boot")))
    return Answer(200, resources.settings(board))


BOOT_KEYS = frozenset({
    "BootSourceOverrideTarget", "BootSourceOverrideEnabled", "BootSourceOverrideMode", "HttpBootUri",
})  # fmt: skip


def _override(board: Board, asked: object) -> Override:
    """The override after a PATCH: what it does not name stays as it is."""
    if not isinstance(asked, dict):
        raise Refusal(400, "PropertyValueTypeError", "Boot is not an object.")
    _refuse_unknown(asked, BOOT_KEYS)
    present = board.chassis.override
    target, lifetime = present.choice.target, present.lifetime
    if "BootSourceOverrideTarget" in asked:
        target = _named(TARGETS, asked["BootSourceOverrideTarget"], "BootSourceOverrideTarget")
        if target not in board.chassis.hardware.targets:
            raise Refusal(400, "PropertyValueNotInList", f"This machine cannot boot {TARGETS[target]}.")
    if "BootSourceOverrideEnabled" in asked:
        lifetime = _named(LIFETIMES, asked["BootSourceOverrideEnabled"], "BootSourceOverrideEnabled")
    if target is BootTarget.NONE:
        lifetime = Lifetime.DISABLED
    return Override(BootChoice(target, _uri(asked, present, target)), lifetime, _mode(board, asked))


def _mode(board: Board, asked: Body) -> Mode:
    own = Mode.UEFI if board.chassis.hardware.identity.firmware.is_uefi else Mode.LEGACY
    if "BootSourceOverrideMode" not in asked and board.faults.on(Fault.MODE_RESET):
        return Mode.LEGACY
    wanted = _named(MODES, asked.get("BootSourceOverrideMode", MODES[own]), "BootSourceOverrideMode")
    if wanted is not own:
        raise Refusal(400, "PropertyValueNotInList", f"The machine's firmware has no mode {MODES[wanted]}.")
    return wanted


def _uri(asked: Body, present: Override, target: BootTarget) -> str:
    uri = asked.get("HttpBootUri", present.choice.uri) or ""
    if not isinstance(uri, str) or len(uri) > URI_BYTES or (uri and not uri.startswith(("http://", "https://"))):
        raise Refusal(400, "PropertyValueFormatError", "HttpBootUri is not a URL.")
    return uri if target is BootTarget.HTTP else ""


def reset(board: Board, body: Body) -> Answer:
    """ComputerSystem.Reset: accepted now, done a moment later, as on any board."""
    kind = str(body.get("ResetType", "On"))
    verb = VERBS.get(kind)
    if verb is None or kind not in resources.offered(board):
        text = f"The value {kind!r} for ResetType is not supported."
        raise Refusal(400, "ActionParameterNotSupported", text)
    if board.chassis.refuses(verb):
        raise Refusal(409, "ResourceInUse", "The machine is off.")
    if board.chassis.is_busy:
        raise Refusal(503, "ServiceTemporarilyUnavailable", "The board is busy.", headers={"Retry-After": "2"})
    board.chassis.request(verb)
    takes_a_task = board.faults.on(Fault.RESET_TASK) or board.faults.on(Fault.STUCK_TASK)
    return media.begun(board) if takes_a_task else Answer(204)


def clear_log(board: Board, body: Body) -> Answer:
    board.chassis.events.clear()
    return Answer(204)


def create_account(board: Board, body: Body) -> Answer:
    """A new user in the first free slot."""
    name, password = body.get("UserName"), body.get("Password")
    if not isinstance(name, str) or not isinstance(password, str) or not name or not password:
        raise Refusal(400, "PropertyMissing", "UserName and Password are needed.")
    if any(one.name == name for one in board.accounts):
        raise Refusal(409, "ResourceAlreadyExists", f"There is an account {name!r}.")
    role = _named(ROLES, body.get("RoleId", "ReadOnly"), "RoleId")
    free = next((one.slot for one in board.accounts if one.slot >= FIRST_SLOT and not one.name), None)
    if free is None:
        raise Refusal(400, "CreateLimitReachedForResource", f"All {ACCOUNTS} slots are taken.")
    made = board.accounts.change(
        free, name=name, password=password, role=role, enabled=body.get("Enabled", True) is True
    )
    return Answer(201, resources.account_body(made), {"Location": f"{ACCOUNTS_PATH}/{free}"})


def patch_account(board: Board, account: Account, body: Body) -> Answer:
    _refuse_unknown(body, frozenset({"UserName", "Password", "RoleId", "Enabled", "Locked"}))
    role: Role = _named(ROLES, body["RoleId"], "RoleId") if "RoleId" in body else account.role
    changed = board.accounts.change(
        account.slot, name=str(body.get("UserName", account.name)), role=role,
        password=str(body.get("Password", account.password)), enabled=body.get("Enabled", account.enabled) is True,
    )  # fmt: skip
    return Answer(200, resources.account_body(changed))


def delete_account(board: Board, account: Account) -> Answer:
    board.accounts.change(account.slot, name="", password="", role=Role.NONE, enabled=False)
    return Answer(204)
