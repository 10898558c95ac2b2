"""`provisionctl bmc`: talk to a BMC, through the daemon by a machine's name or straight by its address."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from provisioner.bmc.table import VERBS
from provisioner.cli.asking import RESETS, STOPS, YES, ask_back
from provisioner.cli.bmc_direct import Direct, pin_of, target_of
from provisioner.cli.bmc_find import find
from provisioner.cli.complete import machine_names
from provisioner.cli.machines import bmc_body
from provisioner.cli.output import print_data, print_lines, print_rows
from provisioner.cli.sending import length_of
from provisioner.cli.session import Group, Session, command, read_first_line
from provisioner.cli.text import Column, Row, listing, printable
from provisioner.cli.typed import Number, pair_of, reads
from provisioner.cli.urls import quoted
from provisioner.errors import ConfigError
from provisioner.model.bmc import BmcAddress, parse_url

_TARGET = click.argument("target", callback=reads(target_of), shell_complete=machine_names)


@click.group(cls=Group)
def bmc() -> None:
    """Talk to a BMC by itself.

    TARGET is a machine's name, and the daemon talks to its BMC; or an address (redfish://admin@10.0.0.17), and this
    command does. Then the password comes from --password-file or PROVISIONER_BMC_PASSWORD, or is asked for.

    \b
      provisionctl bmc do node17 sensors.read
      provisionctl bmc do node17 led.set wanted=on
      provisionctl bmc do node17 vmedia.insert uri=https://example.net/17.iso
      provisionctl bmc console node17
      provisionctl bmc find 10.0.0.0/24
    """


def parse_arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """Read NAME=VALUE; raise `ConfigError`. A password is never taken from the command line."""
    found: dict[str, Any] = {}
    for argument in arguments:
        name, text = pair_of(argument)
        if name == "password":
            if not text.startswith("@"):
                raise ConfigError("password: has no place here, others can read it", hint="password=@FILE")
            found[name] = read_first_line(text[1:])
            continue
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


def _login(function: Any) -> Any:
    """Add the options of commands that may talk to a BMC themselves."""
    for option in (
        click.option("--trust", is_flag=True, help="Take whatever certificate it shows; says which."),
        click.option("--pin", metavar="SHA256", callback=reads(pin_of), help="The certificate that it has to show."),
        click.option("--password-file", metavar="FILE", default="", help="The password is the first line of FILE."),
    ):
        function = option(function)
    return function


TOUCHES = {
    "power.off": STOPS,
    "power.soft-off": "has its system shut down",
    "power.cycle": RESETS,
    "power.reset": RESETS,
    "power.nmi": "stops its system, which writes down its memory",
}
"""What is asked about, where a machine is in use; verbs that destroy what is on a disk are refused there."""


@command("do")
@_TARGET
@click.argument("verb")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...", callback=reads(parse_arguments))
@YES
@_login
def do(
    session: Session, target: str | BmcAddress, verb: str, arguments: Mapping[str, Any], yes: bool, **given: Any
) -> None:
    """Do one verb, and show what came of it.

    VALUE is JSON, or text where it is none. A password is read from a file: password=@FILE. `provisionctl bmc verbs`
    lists all verbs and what they take.
    """
    if isinstance(target, BmcAddress):
        result = Direct(session, target, **given).do(verb, arguments)
    else:
        client = session.client()
        if not yes and verb in TOUCHES:
            ask_back(client, [target], f"bmc do {verb}", lambda: TOUCHES[verb])
        where = f"/v1/machines/{quoted(target)}/bmc/{quoted(verb)}"
        result = client.post(where, arguments, slow=True, takes_s=takes_s(verb))["result"]
    show(session, result)


@command("push")
@_TARGET
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@_login
def push(session: Session, target: str | BmcAddress, file: Path, **given: Any) -> None:
    """Send firmware to a BMC in one request, and wait until it is installed.

    For BMCs that cannot fetch: `do TARGET firmware.update uri=URL` has them fetch it.
    """
    length = length_of(file)
    if isinstance(target, BmcAddress):
        Direct(session, target, **given).push(file)
    else:
        with file.open("rb") as content:
            where = f"/v1/machines/{quoted(target)}/bmc/firmware"
            session.client().send(where, content, length, {"name": file.name}, takes_s=takes_s("firmware.push"))
    session.note(f"{file.name} is installed")


def takes_s(verb: str) -> float:
    """Say how long a board may take for a verb: firmware an hour, a drive that erases itself half a day."""
    return VERBS[verb].limit_s if verb in VERBS else 0.0


@command("verbs")
def verbs(session: Session) -> None:
    """List all verbs, what they take, and which drivers offer them."""
    from provisioner.bmc.table import VERBS
    from provisioner.web.bmc import verb_view

    print_rows(session, [verb_view(verb) for verb in VERBS.values()], VERB_COLUMNS, empty="")


@command("why")
@click.argument("machine", shell_complete=machine_names)
@click.argument("verb")
def why(session: Session, machine: str, verb: str) -> None:
    """Say which driver a verb is asked of on this machine, and why."""
    found = session.client().get(f"/v1/machines/{quoted(machine)}/bmc/why/{quoted(verb)}")
    if session.output in {"json", "yaml"}:
        print_data(session, found)
        return
    print_lines(map(printable, found["lines"]))


@command("add")
@click.argument("machine", shell_complete=machine_names)
@click.argument("address", callback=reads(parse_url))
@click.option("--password-file", metavar="FILE", default="", help="The password is the first line of FILE.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
def add(session: Session, machine: str, address: BmcAddress, password_file: str, password_stdin: bool) -> None:
    """Put another way to a machine's board on record, such as IPMI beside Redfish.

    The daemon logs in first, and looks by UUID and serial number whether it is that machine's board. From then on each
    verb is asked by the way that was proven on boards like it (`why` shows the order); where one cannot do a verb or
    is silent, the next is asked.
    """
    body = bmc_body(address, password_file, password_stdin)
    found = session.client().post(f"/v1/machines/{quoted(machine)}/bmc/ways", body, slow=True)
    print_rows(session, found["ways"], WAY_COLUMNS, empty="")


@command("remove")
@click.argument("machine", shell_complete=machine_names)
@click.argument("driver", type=click.Choice(["ipmi", "redfish", "libvirt"]))
def remove(session: Session, machine: str, driver: str) -> None:
    """Take another way to a machine's board off the record. The first one goes with the machine."""
    session.client().delete(f"/v1/machines/{quoted(machine)}/bmc/ways/{driver}")
    session.note(f"{machine}: no longer by {driver}")


@command("waive")
@click.argument("machine", shell_complete=machine_names)
@click.argument("verb")
@click.option("--driver", type=click.Choice(["ipmi", "redfish", "libvirt"]), required=True, help="Which one to ask.")
@click.option("--reason", metavar="REASON", required=True, help="Why; `why` shows it.")
@click.option("--days", type=Number(0, min_open=True), default=30.0, show_default=True, help="For how long.")
def waive(session: Session, machine: str, verb: str, driver: str, reason: str, days: float) -> None:
    """Have a driver asked for a verb that failed it on boards like this one.

    It holds for every board of this model and firmware, is asked after all others, and expires.
    """
    body = {"verb": verb, "driver": driver, "reason": reason, "days": days}
    session.client().post(f"/v1/machines/{quoted(machine)}/bmc/waive", body, slow=True)
    session.note(f"{driver} is asked for {verb} on boards like that of {machine} for {days:g} days")


@command("rotate")
@click.argument("machine", shell_complete=machine_names)
def rotate(session: Session, machine: str) -> None:
    """Give the daemon's account at a BMC a new random password.

    It is stored before the BMC hears of it: whatever breaks in between, one of the two passwords that are kept works.
    """
    session.client().post(f"/v1/machines/{quoted(machine)}/bmc/rotate", slow=True)
    session.note(f"{machine}: the BMC has a new password, and the daemon keeps it")


@command("pin")
@click.argument("address", callback=reads(partial(parse_url, login=False)))
def pin(session: Session, address: BmcAddress) -> None:
    """Show the certificate that a BMC shows now, as SHA-256. Compare it with what the BMC's own console says."""
    click.echo(Direct(session, address).fingerprint())


@command("console")
@_TARGET
@click.option("--read-only", is_flag=True, help="Only look; nothing is typed.")
@click.option("--take-over", is_flag=True, help="End the console of somebody else (with an address).")
@_login
def console(session: Session, target: str | BmcAddress, read_only: bool, take_over: bool, **given: Any) -> None:
    """Open a machine's serial console. Leave it with Enter, then ~ and a dot.

    Through the daemon, any number of people share it, and what was printed before comes first.
    """
    from provisioner.cli.bmc_console import ApiLine, attach, direct_line

    if isinstance(target, BmcAddress):
        with direct_line(Direct(session, target, **given), take_over) as line:
            attach(session, line, read_only=read_only)
    else:
        with ApiLine(session.client(), f"/v1/machines/{quoted(target)}/console") as line:
            attach(session, line, read_only=read_only)


@command("found")
def found(session: Session) -> None:
    """List the BMCs that got an address from us or that machines see of themselves, and whose they are.

    DHCP knows them by what they call themselves, and by the ranges of hardware addresses in `dhcp.bmc_macs`.
    """
    print_rows(session, session.client().get("/v1/bmc/found")["found"], SEEN_COLUMNS, empty="no BMC was seen")


for one in (do, push, verbs, why, add, remove, waive, rotate, pin, console, find, found):
    bmc.add_command(one)


def show(session: Session, result: Any) -> None:
    """Show a verb's result: a table for a list, names and values for one thing, a word for one value."""
    match result:
        case _ if session.output in {"json", "yaml"}:
            print_data(session, result)
        case None:
            session.note("done")
        case list() if result and isinstance(result[0], Mapping):
            names = [name for name in result[0] if any(row.get(name) not in ("", None, [], {}) for row in result)]
            columns = [Column(name.upper().replace("_", " "), _cell(name)) for name in names]
            print_rows(session, result, columns, empty="")
        case dict():
            print_lines(listing([(name.replace("_", " "), _words(value)) for name, value in result.items()]))
        case list() if not result:
            session.note("nothing")
        case str():
            click.echo(printable(result))
        case _:
            print_data(session, result)


def _cell(name: str) -> Any:
    return lambda row: _words(row.get(name))


def _words(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | dict():
            simple = isinstance(value, list) and not any(isinstance(one, list | dict) for one in value)
            return ", ".join(map(str, value)) if simple else json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def _takes(row: Row) -> str:
    return " ".join(name if one["needed"] else f"[{name}]" for name, one in row["takes"].items())


VERB_COLUMNS = (
    Column("VERB", lambda row: row["name"], keep=True),
    Column("DRIVERS", lambda row: ",".join(row["drivers"])),
    Column("TAKES", _takes),
    Column("WHAT IT DOES", lambda row: row["does"]),
)
WAY_COLUMNS = (
    Column("ADDRESS", lambda row: row["url"], keep=True),
    Column("CERTIFICATE", lambda row: row["fingerprint"][:16]),
)
SEEN_COLUMNS = (
    Column("MAC", lambda row: row["mac"], keep=True),
    Column("ADDRESS", lambda row: row["address"]),
    Column("KIND", lambda row: row["kind"]),
    Column("SEEN BY", lambda row: ",".join(row["how"])),
    Column("MACHINE", lambda row: row["machine"], keep=True),
    Column("ON RECORD", lambda row: "yes" if row["on_record"] else "no"),
)
