"""Scripts of a new system that failed, at the end of its installation or at its first start: what is said. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from provisioner.catalog.params import HIDDEN

HOOK_FAILED = "HookFailed"
"""The kind of such a failure."""
HOOK_HINT = "mend the script and install again; the installer's log or the system's journal has what it printed"
LEAST_CHARS = 4
"""A secret that is shorter is in every other word."""
REASON_CHARS = 200
_LATE = 1000
_FIRST_BOOT = 2000
"""From where each kind is numbered, where a family runs both at the first start."""


@dataclass(frozen=True, slots=True)
class FailedHook:
    """What a system says of a script: `hook` is the name of its file, `output` its last lines."""

    hook: str
    status: int
    output: str = ""

    @property
    def reason(self) -> str:
        """Say which script failed, how, and with which last words."""
        last = next((line.strip() for line in reversed(self.output.splitlines()) if line.strip()), "")
        words = f": {last[:REASON_CHARS]}" if last else ""
        return f"{name_of(self.hook)} ended with status {self.status}{words}"


def name_of(hook: str) -> str:
    """Name a script as its site knows it, by its file: `1002` is the second of hooks.first_boot."""
    match = re.fullmatch(r"([0-9]{4})(|-late|-first-boot)", hook)
    if match is None:
        return f"the script {re.sub(r'[^A-Za-z0-9._-]', '_', hook)}"
    number, kind = int(match[1]), match[2]
    if kind == "-late":
        return f"hooks.late, number {number - _LATE},"
    return f"hooks.first_boot, number {number - (_FIRST_BOOT if kind else _LATE)},"


def without(failed: FailedHook, secrets: Iterable[str]) -> FailedHook:
    """Blank what a script printed of secrets, each line of one alike."""
    parts = {part.strip() for secret in secrets for part in (secret, *secret.splitlines())}
    output = failed.output
    for part in sorted(parts, key=len, reverse=True):
        if len(part) >= LEAST_CHARS:
            output = output.replace(part, HIDDEN)
    return replace(failed, output=output)
