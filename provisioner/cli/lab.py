"""`provisionctl lab`: a virtual rack to try, test and demo everything without servers."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from provisioner.cli.output import GREEN, print_rows
from provisioner.cli.session import Command, Group, Session, session_of
from provisioner.cli.text import Column
from provisioner.cli.typed import Count
from provisioner.errors import LabError
from provisioner.fields import parse_size
from provisioner.lab import control, faults, rack
from provisioner.lab.hardware import Firmware
from provisioner.lab.spec import DEFAULT_NAME, MOST, MOST_CPUS, MOST_DISKS, MOST_PORTS, RackSpec, Shape, line, state_of

COLUMNS = (
    Column("NAME", lambda row: row["name"], keep=True),
    Column("FIRMWARE", lambda row: row["firmware"]),
    Column("POWER", lambda row: row["power"], style=lambda row: GREEN if row["power"] == "on" else ""),
    Column("NEXT BOOT", lambda row: "own order" if row["next_boot"] == "none" else row["next_boot"]),
    Column("BOOTS", lambda row: str(row["boots"]), right=True),
    Column("BMC", lambda row: row["bmc"]),
    Column("FAULTS", lambda row: ", ".join(row["faults"])),
    Column("MAC", lambda row: row["mac"], wide=True),
    Column("PID", lambda row: str(row["pid"] or ""), wide=True, right=True),
)
FAULT_COLUMNS = (
    Column("FAULT", lambda row: row["name"], keep=True),
    Column("WHAT THE BMC DOES", lambda row: row["what"]),
)
VERBS = ("on", "off", "cycle", "reset", "soft-off", "nmi")


def _rack_name(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Take a name that a namespace and a directory can have."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", value):
        raise click.BadParameter(f"{value!r}: up to 32 lower-case letters, digits and hyphens", ctx, param)
    return value


name_option = click.option(
    "--name",
    metavar="RACK",
    default=DEFAULT_NAME,
    show_default=True,
    callback=_rack_name,
    help="Which rack: its namespace's name.",
)


@click.group(cls=Group)
def lab() -> None:
    """A virtual rack: machines with real firmware and BMCs, in a network of their own.

    \b
      provisionctl lab up               three machines, off, and their daemon
      provisionctl lab status           what is on, and what boots next
      provisionctl lab console node17   what its screen says
      provisionctl lab down             remove every trace
    """


def _command(name: str) -> Callable[[Callable[..., None]], click.Command]:
    def make(function: Callable[..., None]) -> click.Command:
        @click.pass_context
        def call(ctx: click.Context, /, **given: Any) -> None:
            function(session_of(ctx), **given)

        call.__doc__ = function.__doc__
        call.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
        return lab.command(name, cls=Command)(call)

    return make


@_command("up")
@click.option(
    "--machines",
    type=Count(1, MOST),
    show_default="3",
    help="How many: BIOS, UEFI PXE and UEFI HTTP boot in turn.",
)
@click.option("--daemon/--no-daemon", default=None, help="Start provisionerd in the rack and enrol the machines there.")
@click.option("--disks", type=Count(1, MOST_DISKS), show_default="1", help="How many every machine has.")
@click.option("--ports", type=Count(1, MOST_PORTS), show_default="1", help="Network ports that every machine has.")
@click.option("--cpus", type=Count(1, MOST_CPUS), show_default="1", help="Processors that every machine has.")
@click.option("--memory", metavar="SIZE", show_default="1GiB", help="Memory of every machine.")
@click.option(
    "--disk-size", metavar="SIZE", show_default="8GiB", help="Size of every disk; it takes up what is written."
)
@click.option("--kinds", default="", metavar="KIND,...", help=f"Firmware in turn; there are {', '.join(Firmware)}.")
@name_option
def up(session: Session, machines: int | None, daemon: bool | None, name: str, **shape: Any) -> None:
    """Bring the rack up: machines off, with empty disks.

    Safe to run twice: a rack that is up stays as it is, and one that is not as these options ask for it is refused.
    """
    sizes = {
        "memory_bytes": _size("--memory", shape.pop("memory")),
        "disk_bytes": _size("--disk-size", shape.pop("disk_size")),
    }
    kinds = shape.pop("kinds")
    wanted = Shape(**shape, **sizes, kinds=tuple(_kind(word) for word in kinds.split(",")) if kinds else ())
    built = rack.up(name, state_of(name), machines, session.note, wanted, bare=daemon is False)
    if daemon is not False:
        _start_daemon(session, built)
    session.note(f"the rack {name} is up: `{line('status', name)}`")


def _kind(word: str) -> Firmware:
    if word not in set(Firmware):
        raise click.UsageError(f"--kinds: {word!r} is no kind of machine; there are {', '.join(Firmware)}")
    return Firmware(word)


def _size(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    size = parse_size(text)
    if size is None:
        raise click.UsageError(f"{option} {text}: not a size, such as 4GiB")
    return size


def _start_daemon(session: Session, built: RackSpec) -> None:
    from provisioner.cli.client import Client
    from provisioner.lab import daemon

    daemon.start(built, session.note)
    client = Client(str(built.api))
    for machine in built.machines:
        if daemon.enrol(client, machine):
            session.note(f"enrolled {machine.identity.name} ({machine.driver} at {machine.bmc_address})")


@_command("down")
@name_option
def down(session: Session, name: str) -> None:
    """Take the rack down: machines, disks, network, daemon. Safe to run twice."""
    was_there = rack.down(name, state_of(name), session.note)
    session.note(f"the rack {name} is gone" if was_there else f"there is no rack {name}")


@_command("status")
@name_option
def status(session: Session, name: str) -> None:
    """Show the machines as their BMCs see them."""
    print_rows(session, control.ask(rack.find(state_of(name)).control, "status"), COLUMNS, empty="no machines")


@_command("power")
@click.argument("machine")
@click.argument("verb", type=click.Choice(VERBS))
@name_option
def power(session: Session, machine: str, verb: str, name: str) -> None:
    """Press a machine's buttons, as somebody who stands in front of it."""
    control.ask(rack.find(state_of(name)).control, "power", machine=machine, verb=verb)


@_command("fault")
@click.argument("machine")
@click.argument("fault")
@click.option("--times", type=Count(1), help="It strikes so often, then it is gone.")
@name_option
def fault(session: Session, machine: str, fault: str, times: int | None, name: str) -> None:
    """Make a machine's BMC misbehave: `provisionctl lab faults` lists how."""
    on = control.ask(rack.find(state_of(name)).control, "fault", machine=machine, fault=fault, times=times)
    session.note(f"the BMC of {machine}: {', '.join(on)}")


@_command("repair")
@click.argument("machine")
@click.argument("fault", required=False)
@name_option
def repair(session: Session, machine: str, fault: str | None, name: str) -> None:
    """End one fault of a machine's BMC, or all."""
    on = control.ask(rack.find(state_of(name)).control, "repair", machine=machine, fault=fault)
    session.note(f"the BMC of {machine}: {', '.join(on) or 'in order'}")


@_command("faults")
def list_faults(session: Session) -> None:
    """List what a BMC of the rack can do wrong."""
    rows = [{"name": fault.value, "what": what} for fault, what in faults.WHAT.items()]
    print_rows(session, rows, FAULT_COLUMNS, empty="none")


@_command("console")
@click.argument("machine")
@click.option("--follow/--no-follow", default=True, help="Go on with what it prints from now on.")
@name_option
def console(session: Session, machine: str, follow: bool, name: str) -> None:
    """Show what a machine printed on its serial console, and what it prints. Ctrl-C ends it."""
    built = rack.find(state_of(name))
    _tail(built.root_of(built.machine(machine)) / "console.log", follow)


POLL_S = 0.2


def _tail(path: Path, follow: bool) -> None:
    from provisioner.cli.client import pause

    if not path.exists():
        raise LabError(f"{path}: nothing yet: the machine was never switched on")
    with path.open("rb") as log:
        while True:
            data = log.read()
            if data:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            elif not follow:
                return
            else:
                pause(POLL_S)
