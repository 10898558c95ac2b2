"""Bring a rack up and take it down, from outside its namespace. Both may be done twice; `down` leaves no trace."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from provisioner.errors import LabError
from provisioner.lab import accel, control, namespace, process
from provisioner.lab import daemon as lab_daemon
from provisioner.lab.builds import BUILDS
from provisioner.lab.hardware import GIB, Firmware
from provisioner.lab.spec import (
    DEFAULT_STATE,
    KINDS,
    USUAL,
    RackSpec,
    Shape,
    decode,
    differences,
    encode,
    line,
    name_of,
    plan,
)

RECORD = "rack.json"
START_S = 180.0
"""Certificates, disks and sockets of a large rack take a few seconds, on a computer that is busy a minute."""
PROGRAMS = {"ip": "iproute2", "setpriv": "util-linux"}
FILES = {"ipxe-qemu": (Path("/usr/share/qemu/pxe-virtio.rom"), Path("/usr/lib/ipxe/qemu/pxe-virtio.rom"))}
"""Package -> where its file may lie, newest first: what Debian 13 puts with QEMU's own, older releases keep apart."""
DEVICES = (Path("/dev/net/tun"),)

Say = Callable[[str], None]


def need_root(verb: str, name: str) -> None:
    """Refuse to begin as anybody else. Raise `LabError`."""
    if os.geteuid() != 0:
        hint = f"`sudo $(command -v provisionctl) {line(verb, name).removeprefix('provisionctl ')}`"
        raise LabError(f"the rack {name} needs root: it has a network namespace", hint=hint)


def check(kinds: Iterable[Firmware] = KINDS) -> None:
    """Refuse to begin without what machines of these kinds need; names all that is missing. Raise `LabError`."""
    builds = [BUILDS[kind] for kind in kinds]
    programs = PROGRAMS | {build.program: build.package for build in builds}
    files = FILES | {build.flash.package: (build.flash.code,) for build in builds if build.flash is not None}
    missing = {package: name for name, package in programs.items() if shutil.which(name) is None}
    missing |= absent(files)
    if missing:
        things = ", ".join(missing.values())
        raise LabError(f"not installed: {things}", hint=f"apt-get install {' '.join(missing)}")
    for device in DEVICES:
        if not device.exists():
            raise LabError(f"{device}: missing", hint="modprobe tun")


def absent(files: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    """Name the packages whose file lies at none of its places, each with the first of these."""
    return {package: str(paths[0]) for package, paths in files.items() if not any(map(Path.exists, paths))}


def load(state: Path) -> RackSpec | None:
    """The rack that was brought up in this directory; None where there is none. Raise `LabError`."""
    record = state / RECORD
    try:
        return decode(record.read_text()) if record.exists() else None
    except LabError as error:
        hint = f"`{line('down', name_of(state))}`, then `up`"
        raise LabError(f"{record}: {error.message}", hint=hint) from error


def find(state: Path) -> RackSpec:
    """The rack in this directory; raise `LabError`."""
    rack = load(state)
    if rack is None:
        others = [f"`--name {name}`" for name in racks_in(state.parent)]
        said = f"{', '.join(others)} {'is' if len(others) == 1 else 'are'} there; " if others else ""
        raise LabError(f"there is no rack at {state}", hint=f"{said}`{line('up', name_of(state))}` makes one")
    return rack


def racks_in(folder: Path) -> list[str]:
    """Name the racks in this folder of state directories."""
    return sorted(name_of(record.parent) for record in folder.glob(f"{DEFAULT_STATE.name}*/{RECORD}"))


def supervisor_of(state: Path) -> process.Recorded | None:
    return process.recall(state / "supervisor.json")


@contextlib.contextmanager
def alone(name: str) -> Iterator[None]:
    """Be the only command that brings this rack up or down; raise `LabError` where another one does.

    The lock is a name in the kernel (unix(7), abstract sockets): it goes with the process, and leaves no file.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as held:
        try:
            held.bind(f"\0provisioner-lab/{name}")
        except OSError as error:
            hint = f"wait for the other command, then see `{line('status', name)}`"
            raise LabError(f"another command brings the rack {name} up or down at this moment", hint=hint) from error
        yield


def up(
    name: str,
    state: Path,
    count: int | None,
    say: Say,
    shape: Shape = Shape(),  # noqa: B008 - frozen
    *,
    bare: bool = False,
) -> RackSpec:
    """Bring the rack up, or find it up; returns when its BMCs answer. `bare` asks that no daemon runs in it.

    Raise `LabError`, also where a rack of this name is there and is not as it is asked for.
    """
    need_root("up", name)
    with alone(name):
        rack = load(state)
        if rack is None:
            return _new(name, state, USUAL if count is None else count, say, shape)
        _as_asked(rack, count, shape, bare)
        if supervisor_of(state) is None:
            return _again(rack, say)
        say(f"the rack {name} is up already")
        return rack


def _new(name: str, state: Path, count: int, say: Say, shape: Shape) -> RackSpec:
    check(shape.kinds or KINDS)
    unknown = accel.emulation("nobody has looked yet")
    planned = plan(name, state, count, unknown, lambda: secrets.token_urlsafe(12), shape)
    largest = planned.machines[0].identity.memory_bytes
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if largest > memory:
        raise LabError(f"a machine with {largest / GIB:g} GiB of memory: this host has {memory / GIB:.1f}")
    rack = replace(planned, accelerator=_accelerator(say))
    begun = not state.exists()
    try:
        return _begin(rack, say)
    except LabError:
        if begun and not namespace.exists(name):  # nothing of it is at work: a rack that never was leaves nothing
            shutil.rmtree(state, ignore_errors=True)
        raise


def _again(rack: RackSpec, say: Say) -> RackSpec:
    """Bring up a rack whose processes were killed: with its disks, and the passwords that its daemon knows."""
    check({machine.identity.firmware for machine in rack.machines})
    say("cleaning up after a rack that was not taken down")
    _stop(rack.name, rack.state)
    return _begin(replace(rack, accelerator=_accelerator(say)), say)


def _accelerator(say: Say) -> accel.Accelerator:
    say("probing for an accelerator that runs firmware")
    accelerator = asyncio.run(accel.choose())
    say(f"machines run with {accelerator.name}: {accelerator.reason}")
    return accelerator


def _begin(rack: RackSpec, say: Say) -> RackSpec:
    _write(rack)
    say(f"network namespace {rack.name}: bridge {namespace.BRIDGE}, {len(rack.machines)} machines, their BMCs")
    namespace.build(rack)
    _supervise(rack)
    return rack


def _as_asked(rack: RackSpec, count: int | None, shape: Shape, bare: bool) -> None:
    """Refuse to take a rack for another one that was asked for; raise `LabError`."""
    others = differences(rack, count, shape)
    if bare and process.recall(lab_daemon.record_of(rack.state)) is not None:
        others.append("a daemon, though --no-daemon")
    if others:
        hint = f"`{line('down', rack.name)}` first, which removes its disks, too"
        raise LabError(f"the rack {rack.name} is there with {'; '.join(others)}", hint=hint)


def _write(rack: RackSpec) -> None:
    if namespace.exists(rack.name):
        raise LabError(f"there is a network namespace {rack.name} that is not a rack of ours", hint="give --name")
    rack.state.mkdir(parents=True, exist_ok=True)
    scratch = rack.state / f".{RECORD}"
    scratch.touch(0o600)
    scratch.write_text(encode(rack))
    scratch.replace(rack.state / RECORD)


def _supervise(rack: RackSpec) -> None:
    rack.control.unlink(missing_ok=True)
    log = rack.state / "supervisor.log"
    command = [sys.executable, "-m", "provisioner.lab.supervisor", str(rack.state / RECORD)]
    running = process.spawn(namespace.inside(rack.name, *command), log, rack.state / "supervisor.json")
    process.wait_until(lambda: _answers(rack) or not running.is_alive, START_S)
    if not running.is_alive:
        namespace.remove(rack.name)
        raise LabError(f"the rack did not start: {lab_daemon.last_line(log)}")
    control.ask(rack.control, "status")


def _answers(rack: RackSpec) -> bool:
    """Say whether the supervisor does: its socket is there a moment before it takes anybody."""
    with contextlib.suppress(LabError):
        control.ask(rack.control, "status")
        return True
    return False


def down(name: str, state: Path, say: Say) -> bool:
    """Take the rack down and remove every trace of it; says whether there was anything. Raise `LabError`."""
    with alone(name):
        return _down(name, state, say)


def _down(name: str, state: Path, say: Say) -> bool:
    if not state.exists():
        return False
    if state.stat().st_uid == 0:
        need_root("down", name)
    there = {path.name for path in state.iterdir()} if state.is_dir() else {state.name}
    if RECORD in there:  # be it damaged: a rack whose record cannot be read is taken down by its name
        _stop(name, state, say)
    elif there - {f".{RECORD}"}:
        raise LabError(f"{state} holds no {RECORD}: not removed", hint="remove it yourself if it is of no use")
    shutil.rmtree(state)
    return True


def _stop(name: str, state: Path, say: Say = lambda _: None) -> None:
    """End the rack's processes and remove its namespace."""
    lab_daemon.stop(state, say)
    say("switching the machines off")
    running = supervisor_of(state)
    if running is not None:
        process.end(running)
    left = namespace.processes(name)
    if left and not process.wait_until(lambda: not namespace.processes(name), process.STOP_S):
        listed = ", ".join(str(pid) for pid in namespace.processes(name))
        raise LabError(f"the namespace {name} is still used by process {listed}", hint="end it, then again")
    namespace.remove(name)
