"""Known misbehaviour of boards as data: which entries fit a board, and what they change. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from typing import Any

from provisioner.errors import ConfigError
from provisioner.model.bmc import BmcIdentity, Driver


@dataclass(frozen=True, slots=True)
class Quirks:
    """How one board differs. The defaults are what the specifications say."""

    boot_readback: bool = True
    """Whether boot flags can be read back; where not, the BMC's word that it took them has to do."""
    once_reads_always: bool = False
    """An override for one boot is reported as one for ever."""
    distrust_power_s: float = 0.0
    """For so long after a change the power reading may be the old one."""
    mode_read_only: bool = False
    """The boot mode may not even be written as it is."""
    cd_name: str = "Cd"
    """What the board calls the drive that virtual media appears in, where it offers it."""
    virtual_cd_by_attributes: bool = False
    """"Cd" means a drive in the machine; the virtual one is chosen in the manager's attributes."""
    console_command: str = ""
    """What the board's own shell wants to hear before it gives the serial console, where Redfish does not say."""


PLAIN = Quirks()


@dataclass(frozen=True, slots=True)
class Quirk:
    """One entry: the boards that it is about, and why it exists. Patterns are those of a shell."""

    driver: Driver
    vendor: str
    model: str
    firmware: str
    set: dict[str, Any] = field(hash=False)
    reason: str
    reference: str
    test: str

    def fits(self, driver: Driver, board: BmcIdentity) -> bool:
        """Say whether the entry is about this board."""
        pairs = ((board.vendor, self.vendor), (board.model, self.model), (board.firmware, self.firmware))
        return driver is self.driver and all(fnmatchcase(value, pattern) for value, pattern in pairs)


def quirks_of(table: Iterable[Quirk], driver: Driver, board: BmcIdentity) -> Quirks:
    """Put together what the table says of a board; a later entry wins over an earlier one."""
    found = PLAIN
    for quirk in table:
        if quirk.fits(driver, board):
            found = replace(found, **quirk.set)
    return found


def parse_quirks(value: Any, source: str) -> tuple[Quirk, ...]:
    """Read the table from a document's plain values; raise `ConfigError` with every fault found."""
    faults: list[str] = []
    entries = value.get("quirks") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise ConfigError(f"{source}: no list `quirks`")
    found = [_parse_entry(entry, f"quirks[{index}]", faults) for index, entry in enumerate(entries)]
    if faults:
        raise ConfigError(f"{source}: not in order", faults=faults)
    return tuple(quirk for quirk in found if quirk is not None)


def _parse_entry(entry: Any, where: str, faults: list[str]) -> Quirk | None:
    if not isinstance(entry, dict):
        faults.append(f"{where}: not a mapping")
        return None
    match, settings = entry.get("match"), entry.get("set")
    before = len(faults)
    faults += [f"{where}: {key}: missing or not text" for key in ("reason", "reference", "test")
               if not isinstance(entry.get(key), str)]  # fmt: skip
    faults += [f"{where}: {key}: unknown key" for key in entry if key not in _ENTRY_KEYS]
    if not isinstance(match, dict) or match.get("driver") not in set(Driver):
        faults.append(f"{where}: match: needs a driver, one of {', '.join(Driver)}")
    elif bad := [key for key, pattern in match.items() if key not in _MATCH_KEYS or not isinstance(pattern, str)]:
        faults.append(f"{where}: match: {', '.join(bad)}: unknown, or not text")
    if not isinstance(settings, dict) or not settings:
        faults.append(f"{where}: set: missing")
    else:
        faults += [
            f"{where}: set: {key}: unknown, or of the wrong type" for key in settings if not _is_setting(key, settings)
        ]
    if len(faults) > before:
        return None
    assert isinstance(match, dict)
    assert isinstance(settings, dict)
    return Quirk(
        driver=Driver(match["driver"]),
        vendor=match.get("vendor", "*"),
        model=match.get("model", "*"),
        firmware=match.get("firmware", "*"),
        set=settings,
        reason=entry["reason"],
        reference=entry["reference"],
        test=entry["test"],
    )


_ENTRY_KEYS = frozenset({"match", "set", "reason", "reference", "test"})
_MATCH_KEYS = frozenset({"driver", "vendor", "model", "firmware"})
_TYPES = {one.name: type(getattr(PLAIN, one.name)) for one in fields(Quirks)}


def _is_setting(key: Any, settings: dict[Any, Any]) -> bool:
    wanted, value = _TYPES.get(key), settings[key]
    return type(value) is wanted or (wanted is float and type(value) is int)
