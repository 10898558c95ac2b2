"""`provisionctl dhcp`: leases, reservations and subnets of the running server; imports and exports."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from provisioner.cli.client import Client
from provisioner.cli.output import GREEN, RED, YELLOW, print_one, print_rows
from provisioner.cli.session import Group, Session, command
from provisioner.cli.text import Column, Row, listing, seconds_of, span
from provisioner.cli.urls import quoted
from provisioner.errors import ConfigError
from provisioner.model.boot import Trust

TRUST = tuple(trust.value for trust in Trust if trust)
STATES = ("active", "expired", "released", "declined")
STYLES = {"active": GREEN, "declined": RED, "expired": YELLOW}


@click.group(cls=Group)
def dhcp() -> None:
    """Look at leases, reservations and subnets, change them, take them over from another server.

    Whatever is changed here holds at once and for good, and no other machine notices.
    """


def pages(client: Client, what: str, query: Mapping[str, Any] | None = None) -> Iterator[Row]:
    """Give the rows of a list that comes in pages."""
    after = ""
    while True:
        page = client.get(f"/v1/dhcp/{what}", {**(query or {}), "after": after})
        yield from page[what]
        if not page["next"]:
            return
        after = page["next"]


def left(row: Row) -> str:
    """Say how long a lease lasts, as people read it."""
    until = seconds_of(row["until"])
    if row["state"] not in ("active", "declined"):
        return ""
    return "for ever" if until is None else span(until - time.time())


def fixed_in(row: Row) -> list[str]:
    """Give the fixed addresses of a reservation."""
    return [each for each in (row["address"], *row["addresses"]) if each]


def said(given: Mapping[str, str | None]) -> dict[str, str]:
    """Give the options of a command; what was not said is empty."""
    return {name: value or "" for name, value in given.items()}


LEASES = (
    Column("ADDRESS", lambda row: row["address"], keep=True),
    Column("MAC", lambda row: row["mac"], keep=True),
    Column("NAME", lambda row: row["name"], keep=True),
    Column("STATE", lambda row: row["state"], style=lambda row: STYLES.get(row["state"], "")),
    Column("LEFT", left, right=True),
    Column("SUBNET", lambda row: row["subnet"] or "(not served)"),
    Column("WHY", lambda row: row["reason"]),
    Column("UNTIL", lambda row: row["until"] or "", wide=True),
    Column("SINCE", lambda row: row["since"] or "", wide=True),
    Column("CLIENT ID", lambda row: row["client_id"], wide=True),
    Column("RELAY", lambda row: row["relay"], wide=True),
    Column("CIRCUIT ID", lambda row: row["circuit_id"], wide=True),
    Column("REMOTE ID", lambda row: row["remote_id"], wide=True),
)
RESERVATIONS = (
    Column("MAC", lambda row: row["mac"], keep=True),
    Column("ADDRESS", lambda row: ", ".join(fixed_in(row)) or "from the pool", keep=True),
    Column("NAME", lambda row: row["name"], keep=True),
    Column("PROFILE", lambda row: row["profile"]),
    Column("FROM", lambda row: row["origin"]),
    Column("UUID", lambda row: row["uuid"], wide=True),
    Column("LOADER", lambda row: ", ".join(f"{k}: {v}" for k, v in row["loader"].items()), wide=True),
    Column("HTTPS", lambda row: row["https"], wide=True),
    Column("OPTIONS", lambda row: ", ".join(f"{k}: {v}" for k, v in row["options"].items()), wide=True),
)
RESERVATIONS6 = (
    Column("ADDRESS", lambda row: row["address"], keep=True),
    Column("MAC", lambda row: row["mac"], keep=True),
    Column("UUID", lambda row: row["uuid"]),
    Column("DUID", lambda row: row["duid"]),
    Column("NAME", lambda row: row["name"], keep=True),
    Column("FROM", lambda row: row["origin"]),
    Column("LOADER", lambda row: ", ".join(f"{k}: {v}" for k, v in row["loader"].items()), wide=True),
    Column("HTTPS", lambda row: row["https"], wide=True),
)
SUBNETS = (
    Column("NETWORK", lambda row: row["network"], keep=True),
    Column("NAME", lambda row: row["name"], keep=True),
    Column("INTERFACE", lambda row: row["interface"] or "(relays)"),
    Column("MODE", lambda row: f"proxy (fallback: {row['fallback']})" if row["fallback"] else row["mode"]),
    Column("UNKNOWN", lambda row: row["unknown"]),
    Column("POOLS", lambda row: ", ".join(row["pools"])),
    Column("FROM", lambda row: row["origin"]),
    Column("HTTPS", lambda row: row["https"], wide=True),
)


@command("leases")
@click.option("--state", type=click.Choice(STATES), help="Only those in this state.")
@click.option("--mac", metavar="MAC", default="", help="Only those of this hardware address.")
@click.option("--network", default="", metavar="NETWORK", help="Only addresses in it, such as 10.0.8.0/22.")
@click.option("-6", "six", is_flag=True, help="Those of DHCPv6.")
def leases(session: Session, state: str | None, mac: str, network: str, six: bool) -> None:
    """List leases by address. An address that is declined shows who found it taken."""
    rows = list(
        pages(
            session.client(), "leases", {"state": state, "mac": mac, "network": network, "family": "6" if six else ""}
        )
    )
    print_rows(session, rows, LEASES, empty="no leases")


@command("free")
@click.argument("address")
def free(session: Session, address: str) -> None:
    """Let an ADDRESS of either family that was declined be given again, before its time."""
    session.client().post(f"/v1/dhcp/leases/{quoted(address)}/free")
    session.note(f"{address} may be given again")


@command("reservations")
@click.option("-6", "six", is_flag=True, help="Fixed addresses of DHCPv6.")
def reservations(session: Session, six: bool) -> None:
    """List what is fixed for hardware addresses, and who says so.

    FROM is api (said here, with `reserve` or `import`), file (the configuration) or machine (a machine on record).
    Where several speak of one hardware address, a machine's name stands over all, an address said here over the file's.
    """
    rows = list(pages(session.client(), "reservations6" if six else "reservations"))
    print_rows(session, rows, RESERVATIONS6 if six else RESERVATIONS, empty="nothing is reserved")


@command("reserve")
@click.argument("mac")
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@click.option("--name", metavar="NAME", default="", help="Host name.")
@click.option("--profile", metavar="PROFILE", default="", help="Profile, for the overrides in dhcp.profiles.")
@click.option(
    "--uuid", metavar="UUID", default="", help="SMBIOS UUID: another port of the same machine is then known as well."
)
@click.option("--https", type=click.Choice(TRUST), help="Who on it trusts the daemon's CA.")
def reserve(session: Session, mac: str, addresses: Sequence[str], **given: str | None) -> None:
    """Fix an ADDRESS for a hardware address, or one in each of several subnets; without one, only make it known.

    \b
      provisionctl dhcp reserve 52:54:00:12:34:56 10.0.8.20 --name printer
      provisionctl dhcp reserve 52:54:00:12:34:57 --https firmware
    """
    fixed = {"address": addresses[0], "addresses": list(addresses[1:])} if addresses else {}
    row = session.client().put(f"/v1/dhcp/reservations/{quoted(mac)}", {**fixed, **said(given)})
    _say_held(session, row)
    shown = [("mac", row["mac"]), ("address", ", ".join(fixed_in(row)))]
    shown += ((key, str(row[key])) for key in ("name", "profile", "https"))
    print_one(session, row, lambda: listing(shown), name="mac")


def _say_held(session: Session, row: Row) -> None:
    """Say which of the addresses others have, who lose them."""
    for each in row["held"]:
        until = f"until {each['until']}" if each["until"] else "without end"
        who = each["mac"] or "another machine"
        session.note(
            f"{each['address']} is leased to {who} {until}: it loses it when it renews, and nobody has it before"
        )


@command("unreserve")
@click.argument("mac")
def unreserve(session: Session, mac: str) -> None:
    """Take back what was reserved here; a lease of that address runs on to its end."""
    session.client().delete(f"/v1/dhcp/reservations/{quoted(mac)}")
    session.note(f"{mac}: no reservation of the API any more")


@command("reserve6")
@click.argument("address")
@click.option("--mac", metavar="MAC", default="", help="Hardware address of the port.")
@click.option("--uuid", metavar="UUID", default="", help="SMBIOS UUID of the machine.")
@click.option("--duid", metavar="DUID", default="", help="DUID that it sends, in hex.")
@click.option("--name", metavar="NAME", default="", help="Host name.")
@click.option("--https", type=click.Choice(TRUST), help="Who on it trusts the daemon's CA.")
def reserve6(session: Session, address: str, **given: str | None) -> None:
    """Fix an IPv6 ADDRESS for the machine that has all of what is said of it.

    \b
      provisionctl dhcp reserve6 fd00:8::17 --mac 52:54:00:12:34:56 --name node17
    """
    row = session.client().put(f"/v1/dhcp/reservations6/{quoted(address)}", said(given))
    _say_held(session, row)
    keys = ("address", "mac", "uuid", "duid", "name", "https")
    print_one(session, row, lambda: listing([(key, str(row[key])) for key in keys]), name="address")


@command("unreserve6")
@click.argument("address")
def unreserve6(session: Session, address: str) -> None:
    """Take back what was reserved here; a lease of that address runs on to its end."""
    session.client().delete(f"/v1/dhcp/reservations6/{quoted(address)}")
    session.note(f"{address}: no reservation of the API any more")


@command("subnets")
def subnets(session: Session) -> None:
    """List the subnets that are served, of both families."""
    client = session.client()
    rows = client.get("/v1/dhcp/subnets")["subnets"] + client.get("/v1/dhcp/subnets6")["subnets6"]
    print_rows(session, rows, SUBNETS, empty="no subnets")


@command("subnet-set")
@click.argument("file", type=click.File("rb"))
def subnet_set(session: Session, file: Any) -> None:
    """Add or change the subnet in FILE ("-": stdin), YAML as below `dhcp.subnets` or `dhcp.subnets6`.

    It holds at once, on an interface that nobody listened on, too, and stands over the file's subnet of the same name.
    A list of subnets of one family is changed as one: those of one `shared_network` have settings that are alike.
    """
    from provisioner.yamlfile import load

    wanted = load(file.read(), file.name).value
    several = wanted if isinstance(wanted, list) else [wanted]
    if not several or not all(isinstance(each, Mapping) for each in several):
        raise ConfigError(f"{file.name}: a subnet is wanted, as a mapping, or a list of them")
    families = {"subnets6" if ":" in str(each.get("network", "")) else "subnets" for each in several}
    if len(families) > 1:
        raise ConfigError(f"{file.name}: subnets of both families are no one change: give them one after the other")
    (what,) = families
    if isinstance(wanted, list):
        rows = session.client().post(f"/v1/dhcp/{what}", {what: wanted})[what]
        print_rows(session, rows, SUBNETS, empty="no subnets")
        return
    name = str(wanted.get("name") or wanted.get("network") or "")
    row = session.client().put(f"/v1/dhcp/{what}/{quoted(name)}", wanted)
    keys = ("network", "name", "mode", "interface")
    print_one(session, row, lambda: listing([(key, str(row[key])) for key in keys]), name="network")


@command("subnet-remove")
@click.argument("name")
@click.option("-6", "six", is_flag=True, help="The one of DHCPv6, where one of each family has the name.")
def subnet_remove(session: Session, name: str, six: bool) -> None:
    """Take back a subnet that was set here, by its name or network; what the file says of it holds again."""
    client = session.client()
    client.delete("/v1/dhcp/" + "/".join(map(quoted, _meant(client, name, six))))
    session.note(f"{name}: what was set here is taken back")


def _meant(client: Client, name: str, six: bool) -> tuple[str, str]:
    """Say in which list a subnet is that is called so or has this network, and how the API calls it there."""
    families = ("subnets6",) if six else ("subnets", "subnets6")
    for family in families:
        for row in client.get(f"/v1/dhcp/{family}")[family]:
            if name in (row["name"], row["network"]):
                return family, row["name"] or row["network"]
    return "subnets6" if six or {":", "/"} <= set(name) else "subnets", name  # left out at the start, it is in no list


@command("import")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False, exists=True)
)
@click.option(
    "--format",
    "format_name",
    metavar="FORMAT",
    default="",
    help="What the files are, where their content does not tell.",
)
@click.option("--dry-run", is_flag=True, help="Say what would happen, and change nothing.")
@click.option("--keep-going", is_flag=True, help="Leave out what is in conflict or cannot be read, take the rest.")
@click.option("--expired", is_flag=True, help="List leases that are over, too.")
def import_(session: Session, files: Sequence[Path], **given: Any) -> None:
    """Take over leases and reservations from files of ISC dhcpd, dnsmasq or Kea.

    Their configurations and lease files are told apart by what stands in them. Everything is taken over in one piece:
    when one lease or reservation is in conflict, nothing is changed, unless --keep-going says so. The daemon serves on
    meanwhile, and clients keep their addresses.

    \b
      cd /var/lib
      provisionctl dhcp import /etc/dhcp/dhcpd.conf dhcp/dhcpd.leases --dry-run
      provisionctl dhcp import /etc/dnsmasq.conf misc/dnsmasq.leases
      provisionctl dhcp import /etc/kea/kea-dhcp4.conf kea/kea-leases4.csv
      provisionctl dhcp import /etc/kea/kea-dhcp6.conf kea/kea-leases6.csv
    """
    from provisioner.cli.dhcp_import import import_files

    import_files(session, files, **given)


@command("export")
@click.option("--subnet-id", "ids", multiple=True, metavar="NETWORK=ID", help="Kea's number of a subnet; repeatable.")
@click.option("-6", "six", is_flag=True, help="Those of DHCPv6, as kea-leases6.csv.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default=Path("-"))
def export(session: Session, ids: Sequence[str], file: Path, six: bool) -> None:
    """Write active and declined leases as Kea's kea-leases4.csv to FILE, or to stdout.

    Subnets are numbered from 1 in the order of `provisionctl dhcp subnets`, unless --subnet-id says otherwise.
    """
    from provisioner.cli import dhcp_export
    from provisioner.dhcp.foreign import keacsv, keacsv6

    client, what = session.client(), "subnets6" if six else "subnets"
    numbers = dhcp_export.subnet_numbers(client.get(f"/v1/dhcp/{what}")[what], ids)
    family = {"family": "6" if six else "4"}
    leases = [row for state in ("active", "declined") for row in pages(client, "leases", {"state": state} | family)]
    rows: list[Any] = [*(dhcp_export.export_rows6 if six else dhcp_export.export_rows)(leases, numbers)]
    text = "".join((keacsv6 if six else keacsv).write(sorted(rows)))
    if str(file) == "-":
        click.echo(text, nl=False)
    else:
        file.write_text(text)
    session.note(f"{len(rows)} leases")


for verb in (
    leases,
    free,
    reservations,
    reserve,
    unreserve,
    reserve6,
    unreserve6,
    subnets,
    subnet_set,
    subnet_remove,
    import_,
    export,
):
    dhcp.add_command(verb)
