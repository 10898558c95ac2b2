"""Ask everybody who knows whether a rendered file is right: our own shapes, and the systems' own validators.

A validator that is not installed is named, never passed over in silence. Files go to the programs in a directory that
only we can read, since they may hold secrets.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator

from provisioner import yamlfile
from provisioner.catalog.validate import Schemas, validate

TIMEOUT_S = 300.0
"""For a batch of files on a machine that has other things to do."""
FILE = "\0"
"""Stands for the name of the file in what a program said of it."""
SCHEMAS = Path(__file__).resolve().parent / "schemas"
CLOUD_INIT_SCHEMAS = (
    Path("/usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json"),
    Path("/usr/lib/python3/site-packages/cloudinit/config/schemas/schema-cloud-config-v1.json"),
)
"""Where cloud-init's package keeps its schema."""


@dataclass(slots=True)
class Verdict:
    """What was found: faults by file, who was asked, and who could not be."""

    faults: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Program:
    """A validator of others: its command, the Debian or Python package that has it, and what it says of a good file."""

    command: Callable[[str, Path], list[str]]
    package: str
    takes_many: bool = False
    """It takes several files and answers for all of them: much of its time goes by before it reads the first."""
    before: Callable[[str], str] = str
    """What is done to a file that it would take amiss."""


BIOSBOOT = re.compile(r"(?m)^part biosboot .*$")


def one_biosboot(text: str) -> str:
    """A kickstart file in which a `part biosboot` on one more disk is a comment: the disks of a mirror have one each.

    pykickstart warns of the second as of a second file system at one place; ksvalidator takes warnings for errors, and
    reads no further (3.78). The same line twice stays.
    """
    lines: set[str] = set()

    def kept(found: re.Match[str]) -> str:
        keeps = not lines or found[0] in lines
        lines.add(found[0])
        return found[0] if keeps else f"# {found[0]}"

    return BIOSBOOT.sub(kept, text)


PROGRAMS: Mapping[str, Program] = {
    "shellcheck": Program(
        lambda kind, path: [
            "shellcheck",
            "-s",
            "sh",
            "-S",
            "warning",
            "-e",
            "SC1010,SC1091,SC2016,SC2034,SC2043,SC2154",
            str(path),
        ],
        "shellcheck",
        takes_many=True,
    ),
    "kickstart": Program(
        lambda kind, path: ["ksvalidator", "-v", kind, str(path)], "pykickstart", takes_many=True, before=one_biosboot
    ),
    "preseed": Program(lambda kind, path: ["debconf-set-selections", "-c", str(path)], "debconf", takes_many=True),
    "ignition": Program(lambda kind, path: ["ignition-validate", str(path)], "ignition"),
    "autoyast": Program(lambda kind, path: ["xmllint", "--noout", str(path)], "libxml2-utils"),
    "unattend": Program(lambda kind, path: ["xmllint", "--noout", str(path)], "libxml2-utils"),
}
"""By the first word of a bootenv's `validator`; what follows the colon goes to the program."""

ENGLISH = {"LC_ALL": "C.UTF-8", "LANGUAGE": "C"}
"""What they say is looked through; and without the second, those in Python look for translations of all their words."""
AT_A_TIME = 64
"""Files that a program which takes many is given at once."""


def batch_size(validator: str) -> int:
    """Say how many files of this validator are best checked at once."""
    program = PROGRAMS.get(validator.partition(":")[0])
    return AT_A_TIME if program is not None and program.takes_many else 1


class Linter:
    """Validates rendered files. Keep one: it remembers what it read and whom it found."""

    def __init__(self) -> None:
        self._schemas: Schemas = {
            file.stem: yamlfile.load(file.read_bytes(), file.name).value for file in sorted(SCHEMAS.glob("*.yaml"))
        }
        path = next((path for path in CLOUD_INIT_SCHEMAS if path.is_file()), None)
        self._cloud_init = Draft4Validator(json.loads(path.read_text())) if path is not None else None

    def check(self, validator: str, texts: Mapping[str, str], verdict: Verdict) -> None:
        """Check rendered files, texts by name, and add what is wrong to the verdict, as `name: fault`."""
        word, _, kind = validator.partition(":")
        program = PROGRAMS.get(word)
        for name, text in texts.items():
            self.check_shape(validator, name, text, verdict)
            if word in ("autoinstall", "cloud-config"):
                self._ask_cloud_init(word, name, text, verdict)
        if program is not None:
            self._ask(program, kind, texts, verdict)

    def check_shape(self, validator: str, name: str, text: str, verdict: Verdict) -> None:
        """Check one rendered file by what we know ourselves, without starting a program."""
        verdict.faults += [f"{name}: {fault}" for fault in validate(validator, text, self._schemas)]

    def _ask(self, program: Program, kind: str, texts: Mapping[str, str], verdict: Verdict) -> None:
        """Ask of all at once where that can be, and of each alone where something is wrong: whose fault it is."""
        if program.takes_many and len(texts) > 1 and not self._said(program, kind, list(texts.values()), verdict):
            return
        for name, text in texts.items():
            if said := self._said(program, kind, [text], verdict):
                lines = [line for line in said.replace(FILE, name).splitlines() if line.strip()]
                verdict.faults.append(f"{name}: " + "\n    ".join(lines[:13]))

    def _said(self, program: Program, kind: str, texts: Sequence[str], verdict: Verdict) -> str:
        """What the program has against the files, after its own name; nothing if they are good.

        The first is called FILE: of several, only whether anything is said counts.
        """
        with tempfile.TemporaryDirectory(prefix="provisioner-lint-") as folder:
            paths = [Path(folder) / f"file{number}" for number in range(len(texts))]
            for path, text in zip(paths, texts, strict=True):
                path.write_text(program.before(text), encoding="utf-8")
            command = [*program.command(kind, paths[0]), *(str(path) for path in paths[1:])]
            found = shutil.which(command[0]) or shutil.which(command[0], path=str(Path(sys.executable).parent))
            if found is None:
                verdict.missing.add(f"{command[0]} (package {program.package})")
                return ""
            verdict.asked.add(command[0])
            # debconf: a database of its own, not the host's, which it would lock; ksvalidator leaves what it reads
            own = {"DEBCONF_DB_REPLACE": f"File{{{folder}/debconf}}", "TMPDIR": folder} | ENGLISH
            try:
                done = subprocess.run(
                    [found, *command[1:]],
                    capture_output=True,
                    text=True,
                    timeout=TIMEOUT_S,
                    check=False,
                    errors="replace",
                    env=os.environ | own,
                )
            except subprocess.TimeoutExpired:
                return f"{command[0]}: did not end within {TIMEOUT_S:.0f} s"
        said = f"{done.stdout}\n{done.stderr}".replace(str(paths[0]), FILE)
        warned = re.search(r"(?im)^(warning|error)", said)
        return f"{command[0]}: {said.lstrip()}" if done.returncode != 0 or warned else ""

    def _ask_cloud_init(self, word: str, name: str, text: str, verdict: Verdict) -> None:
        if self._cloud_init is None:
            verdict.missing.add("cloud-init's schema (package cloud-init)")
            return
        verdict.asked.add("cloud-init's schema")
        value: Any = yamlfile.load(text, name).value
        if word == "autoinstall":
            value = value.get("autoinstall", {}).get("user-data", {})
        for error in self._cloud_init.iter_errors(value):
            verdict.faults.append(f"{name}: cloud-init: {list(error.path)}: {error.message[:200]}")
