"""`machines`, `show`, `enrol`, `forget`, `power`: what is on record, and how it gets there."""

from __future__ import annotations

import os
import sys
import time
import uuid
from typing import Any

import click

from provisioner.cli.asking import YES, ask_back
from provisioner.cli.complete import machine_names
from provisioner.cli.many import for_each
from provisioner.cli.output import CYAN, DIM, GREEN, RED, YELLOW, print_one, print_rows
from provisioner.cli.session import Session, command, is_terminal, read_first_line
from provisioner.cli.text import Column, Row, age, listing, printable, seconds_of, size, span
from provisioner.cli.typed import MACHINES, reads
from provisioner.cli.urls import quoted
from provisioner.errors import ConfigError
from provisioner.model.bmc import URLS, BmcAddress, parse_url
from provisioner.model.names import run_name

BOOT_WAYS = click.Choice(["pxe", "http", "media"])
MOVING = frozenset({"inspecting", "deploying", "releasing"})


def state_style(row: Row) -> str:
    """Colour a state: what moves, what runs, what needs somebody."""
    if failed(row):
        return RED
    state = row["state"]
    if state in MOVING:
        return CYAN
    return {"active": GREEN, "quarantined": RED, "maintenance": YELLOW, "retired": DIM}.get(state, "")


def failed(row: Row) -> bool:
    """Say whether the last run failed by itself; one that somebody cancelled did not."""
    return bool(row["failure"]) and (row["run"] or {}).get("outcome") != "cancelled"


def phase(row: Row) -> str:
    """Say where a run stands, or where the last one failed."""
    run = row["run"]
    if run and run["outcome"] == "running":
        percent = f" {run['percent']:.0f}%" if run["percent"] is not None else ""
        return f"{run['phase']}{percent}"
    return f"failed: {row['failure']['phase']}" if failed(row) else ""


def _bmc(row: Row) -> str:
    return f"{row['bmc']['driver']} {row['bmc']['host']}" if row["bmc"] else ""


def _since(row: Row, field: str) -> str:
    at = seconds_of(row[field])
    return age(None if at is None else time.time() - at)


COLUMNS = (
    Column("NAME", lambda row: row["name"], keep=True),
    Column("STATE", lambda row: row["state"], style=state_style),
    Column("PHASE", phase, style=lambda row: RED if failed(row) else CYAN),
    Column("PROFILE", lambda row: (row["profile"] or {}).get("name", "")),
    Column("BOOTENV", lambda row: row["bootenv"]),
    Column("POWER", lambda row: row["power"] or ""),
    Column("BMC", _bmc),
    Column("AGE", lambda row: _since(row, "created"), right=True),
    Column("SEEN", lambda row: _since(row, "seen"), wide=True, right=True),
    Column("MACS", lambda row: ",".join(row["macs"]), wide=True),
    Column("SERIAL", lambda row: row["serial"], wide=True),
    Column("TAGS", lambda row: ",".join(row["tags"]), wide=True),
    Column("ID", lambda row: row["id"], wide=True),
    Column("WHY", lambda row: (row["hold"] or row["failure"] or {}).get("reason", ""), wide=True),
)


@command("machines")
@click.option("--state", metavar="STATE", default="", help="Only machines in this state, such as active.")
@click.option("--tag", metavar="TAG", default="", help="Only machines with this tag, such as rack=r1.")
@click.option("-l", "--select", default="", metavar="SELECTOR", help="Such as rack=r1,!state=active or node[01-40].")
def machines(session: Session, state: str, tag: str, select: str) -> None:
    """List all machines.

    A line shows state, sub-phase of the run under way, hardware profile, what is installed, power, BMC, and since when
    the machine is on record. -o wide adds when it was last heard of, MACs, serial number, tags, and why the last run
    failed.
    """
    rows = session.client().get("/v1/machines", {"state": state, "tag": tag, "select": select})["machines"]
    narrowed = state or tag or select
    empty = "no machine is like that" if narrowed else "no machines yet: power one on, or `provisionctl enrol --help`"
    print_rows(session, rows, COLUMNS, empty=empty)


@command("show")
@click.argument("name", metavar="MACHINE", shell_complete=machine_names)
def show(session: Session, name: str) -> None:
    """Show all that is known of a machine: facts, BMC, the run and its steps, why it failed."""
    machine = session.client().get(f"/v1/machines/{quoted(name)}")
    print_one(session, machine, lambda: described(machine))


def described(machine: Row) -> list[str]:
    """Describe a machine in lines, the most wanted first."""
    profile, bmc = machine["profile"] or {}, machine["bmc"]
    head = [
        ("machine", machine["name"]),
        ("state", " ".join(part for part in (machine["state"], machine["bootenv"]) if part)),
        ("power", machine["power"] or ""),
        ("profile", f"{profile['name']}: {profile['reason']}" if profile else ""),
        (
            "held",
            f"{machine['hold']['reason']} (then back to {machine['hold']['return_to']})" if machine["hold"] else "",
        ),
        ("bmc", bmc["url"] if bmc else "none on record"),
        ("boots by", machine["boot_via"]),
        ("tags", ", ".join(machine["tags"])),
        ("params", "\n".join(f"{key} = {value}" for key, value in sorted(machine["params"].items()))),
        ("id", machine["id"]),
        ("on record", f"{_since(machine, 'created')} ago"),
        ("last seen", f"{seen} ago" if (seen := _since(machine, "seen")) else "never"),
    ]
    return listing(head) + _failure(machine) + _run(machine["run"]) + _facts(machine)


def _failure(machine: Row) -> list[str]:
    failure = machine["failure"]
    if not failure:
        return []
    ago, outcome = _since(failure, "at"), "failed" if failed(machine) else "cancelled"
    pairs = [(f"{outcome} in {failure['phase']}", f"{failure['reason']} ({ago} ago)"), ("what to do", failure["hint"])]
    return ["", *listing(pairs)]


def _run(run: Row | None) -> list[str]:
    if not run:
        return []
    title = run_name(run["verb"], run["bootenv"])
    lines = ["", f"{title}: {run['outcome']} (run {run['id']})"]
    lines += [printable(f"  {key} = {value}") for key, value in sorted(run["params"].items())]
    for line in run["journal"]:
        began, ended = seconds_of(line["started"]), seconds_of(line["ended"])
        took = span(ended - began) if began and ended else ""
        lines.append(f"  {line['outcome']:<9} {line['step']:<16} {took:>7}  {printable(line['note'])}".rstrip())
    if run["outcome"] == "running":
        began = seconds_of(run["step_started"])
        took = span(time.time() - began) if began else ""
        lines.append(f"  {'now':<9} {run['step']:<16} {took:>7}  {printable(run['note'])}".rstrip())
    return lines


def _facts(machine: Row) -> list[str]:
    facts = machine["facts"]
    if not facts:
        return ["", "hardware: not known yet (`provisionctl discover` finds out)"]
    cpu = facts["cpu"]
    firmware = " ".join(part for part in (facts["firmware"], facts["firmware_version"]) if part)
    secure = {True: ", Secure Boot on", False: ", Secure Boot off"}.get(facts["secure_boot"], "")
    pairs = [
        ("model", " ".join(part for part in (facts["vendor"], facts["product"]) if part)),
        ("serial", facts["serial"]),
        ("uuid", facts["uuid"]),
        ("firmware", firmware + secure),
        ("cpu", _cpu(cpu) if cpu["threads"] or cpu["model"] else ""),
        ("memory", size(facts["memory_bytes"]) if facts["memory_bytes"] else ""),
        ("disks", "\n".join(_disk(disk) for disk in facts["disks"])),
        ("ports", "\n".join(_nic(nic) for nic in facts["nics"])),
        ("bmc", "  ".join(part for part in (facts["bmc"]["address"], facts["bmc"]["mac"]) if part)),
        ("tpm", facts["tpm"]),
    ]
    ago = _since(facts, "observed_at")
    return ["", f"hardware ({facts['source']}{f', {ago} ago' if ago else ''})", *listing(pairs, "  ")]


def _cpu(cpu: Row) -> str:
    counts = ", ".join(
        f"{cpu[what]} {what[:-1] if cpu[what] == 1 else what}" for what in ("sockets", "cores", "threads")
    )
    return f"{cpu['model']} ({counts})".strip()


def _disk(disk: Row) -> str:
    kind = "rotating" if disk["rotational"] else disk["transport"]
    parts = (disk["name"], size(disk["size_bytes"]), kind, disk["model"], disk["serial"], disk["holds"] or "blank")
    return "  ".join(part for part in parts if part)


def _nic(nic: Row) -> str:
    link = {True: "link", False: "no link"}.get(nic["link"], "")
    speed = f"{nic['speed_mbps']} Mbit/s" if nic["speed_mbps"] and nic["link"] else ""
    switch = f"{nic['lldp_switch']} {nic['lldp_port']}".strip() or f"{nic['remote_id']} {nic['circuit_id']}".strip()
    return "  ".join(part for part in (nic["name"], nic["mac"], nic["driver"], link, speed, switch) if part)


# putting machines on record


@command("enrol")
@click.argument("name")
@click.option(
    "--bmc",
    metavar="URL",
    callback=reads(parse_url),
    help=f"{URLS}.",
)
@click.option("--password-file", metavar="FILE", default="", help="The BMC's password is the first line of FILE.")
@click.option("--password-stdin", is_flag=True, help="Read the BMC's password from stdin.")
@click.option("--mac", "macs", metavar="MAC", multiple=True, help="A network port's address; may be repeated.")
@click.option(
    "--boot-via",
    type=BOOT_WAYS,
    help="Network boot, or media: a CD of its own.  [default: as it was discovered, or pxe]",
)
@click.option(
    "--tag", "tags", metavar="TAG", multiple=True, help="A label to select it by, such as rack=r1; may be repeated."
)
@click.option("--no-verify", is_flag=True, help="Do not log in to the BMC first.")
def enrol(session: Session, name: str, **given: Any) -> None:
    """Put a machine on record: its name, and its BMC.

    The daemon logs in to the BMC before it writes anything. The password comes from --password-file, --password-stdin,
    the variable PROVISIONER_BMC_PASSWORD, or is asked for on a terminal; never from the command line, which everybody
    on this machine can read.

    \b
      provisionctl enrol node17 --bmc ipmi://admin@10.0.0.17 --password-file pw
      provisionctl enrol node18 --bmc redfish://admin@10.0.0.18 --boot-via http
    """
    body: dict[str, Any] = {
        "name": name,
        "macs": list(given["macs"]),
        "boot_via": given["boot_via"] or "",
        "tags": list(given["tags"]),
        "verify": not given["no_verify"],
    }
    if given["bmc"]:
        body["bmc"] = bmc_body(given["bmc"], given["password_file"], given["password_stdin"])
    machine = session.client().post("/v1/machines", body, key=str(uuid.uuid4()), slow=True)
    where = f" with its BMC {machine['bmc']['url']}" if machine["bmc"] else ""
    print_one(session, machine, lambda: [f"{printable(machine['name'])} is {machine['state']}{printable(where)}"])


def bmc_body(address: BmcAddress, password_file: str, password_stdin: bool) -> dict[str, Any]:
    """Say to the daemon where a BMC is, with its password where it has one."""
    body: dict[str, Any] = {
        "driver": address.driver,
        "host": address.host,
        "port": address.port,
        "username": address.username,
        "system": address.system,
    }
    return body | ({"password": bmc_password(password_file, password_stdin)} if address.driver.has_password else {})


def bmc_password(path: str, stdin: bool) -> str:
    """Read the password of a BMC from where it may come; never from the command line."""
    if path and stdin:
        raise click.UsageError("--password-file and --password-stdin: give one of them", click.get_current_context())
    if path:
        return read_first_line(path)
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if (given := os.environ.get("PROVISIONER_BMC_PASSWORD")) is not None:
        return given
    if is_terminal(sys.stdin):
        return str(click.prompt("Password of the BMC", hide_input=True, err=True))
    raise ConfigError(
        "no password for the BMC", hint="--password-file FILE, --password-stdin or PROVISIONER_BMC_PASSWORD"
    )


@command("forget")
@MACHINES
@click.option("--force", is_flag=True, help="Also machines whose disks were not erased since they were in use.")
@YES
def forget(session: Session, machines: list[str], force: bool, yes: bool) -> None:
    """Take machines off the record, with all that is kept of them. The machines themselves are not touched.

    A machine that is in use is refused: once it is found again it would be a new one, free to be installed.
    """
    client = session.client()
    what, does = "forget --force" if force else "forget", "deletes all that is kept of it, and what runs on it goes on"
    seen = {} if yes else ask_back(client, machines, what, lambda: does)

    def ask(name: str) -> str:
        client.delete(f"/v1/machines/{quoted(name)}{'?force=true' if force else ''}", generation=seen.get(name))
        return name

    if failure := for_each(machines, ask, lambda name: session.note(f"{printable(name)} is forgotten")):
        raise failure
