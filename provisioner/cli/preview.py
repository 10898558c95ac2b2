"""`render` and `params`: what a machine would get, and where each value of it comes from."""

from __future__ import annotations

import json
from typing import Any

import click

from provisioner.cli.complete import bootenv_names, machine_names
from provisioner.cli.output import GREEN, print_data, print_rows
from provisioner.cli.session import Session, command
from provisioner.cli.setting import in_query, sets
from provisioner.cli.text import Column, Row, printable
from provisioner.cli.urls import quoted


def origin_of(row: Row) -> str:
    """Name what the value is made of, the most specific first."""
    return ", ".join(each["origin"] for each in reversed(row["layers"]) if each["wins"]) or "nobody"


def shown(value: Any) -> str:
    """Write a value as one would in a file, on one line."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


PARAMS = (
    Column("PARAMETER", lambda row: row["name"], keep=True),
    Column("VALUE", lambda row: shown(row["value"]) if "value" in row else ""),
    Column("FROM", lambda row: origin_of(row) if "layers" in row else ""),
    Column("LAYERS", lambda row: row.get("merge", ""), wide=True),
    Column("TAKES", lambda row: row["takes"], wide=True),
    Column("ABOUT", lambda row: row["about"], wide=True),
)
LAYERS = (
    Column("PARAMETER", lambda row: row["name"], keep=True),
    Column("LAYER", lambda row: row["layer"], keep=True),
    Column("VALUE", lambda row: shown(row["value"])),
    Column("FROM", lambda row: row["origin"]),
    Column("", lambda row: "wins" if row["wins"] else "", style=lambda row: GREEN if row["wins"] else ""),
)


@command("render")
@click.argument("name", metavar="MACHINE", shell_complete=machine_names)
@click.argument("bootenv", shell_complete=bootenv_names)
@click.argument("file", required=False, default="")
@sets
def render(session: Session, name: str, bootenv: str, file: str, settings: dict[str, Any]) -> None:
    """Print exactly what a machine would get, and touch nothing.

    Kernel arguments and answer files are rendered by the daemon as for a boot; TICKET, TOKEN and (hidden) stand where
    secrets would. With FILE only that one goes to standard output, and nothing else. Where the values come from is
    said on standard error. While BOOTENV is brought onto the machine, that boot's parameters count; --set says others.

    \b
      provisionctl render node17 ubuntu-24.04
      provisionctl render node17 ubuntu-24.04 user-data | less
    """
    asked = {"bootenv": bootenv} | ({"file": file} if file else {}) | in_query(settings)
    found = session.client().get(f"/v1/machines/{quoted(name)}/render", asked)
    if session.output in {"json", "yaml"}:
        print_data(session, found)
        return
    for each in found["files"]:
        if not file:
            click.echo(f"==> {printable(each['name'])} <==")
        click.echo(each["text"], nl=not each["text"].endswith("\n"))
    if not found["address"]:
        session.note(f"{printable(name)} holds no address now: the URLs are those of this host")
    for row in found["params"]:
        if row["layers"] and row["layers"][-1]["layer"] != "default":
            session.note(printable(f"{row['name']} = {shown(row['value'])}  ({origin_of(row)})"))


@command("params")
@click.argument("name", metavar="MACHINE", shell_complete=machine_names)
@click.argument("param", required=False, default="")
@click.option(
    "--bootenv",
    metavar="BOOTENV",
    default="",
    shell_complete=bootenv_names,
    help="For this one instead of the machine's own.",
)
@click.option("--explain", "how", flag_value="explain", help="Every layer, and which of them won.")
@click.option("--all", "how", flag_value="all", help="Also those of which nobody said anything.")
@sets
def params(session: Session, name: str, param: str, bootenv: str, how: str | None, settings: dict[str, Any]) -> None:
    """Show a machine's parameters, and where each comes from.

    Layers are default, global, site, bootenv, profile, role, machine and boot, the most specific one last; how they
    combine (replace, merge, append) is declared with the parameter. The layer boot is what --set says, else that of the
    boot under way. With -o wide each says what it is and takes, with the keys inside of it.

    \b
      provisionctl params node17
      provisionctl params node17 --all -o wide
      provisionctl params node17 disk.layout --explain
    """
    asked = {key: value for key, value in (("bootenv", bootenv), ("name", param)) if value}
    asked |= in_query(settings)
    rows = session.client().get(f"/v1/machines/{quoted(name)}/params", asked)["params"]
    if session.output in {"json", "yaml"}:
        print_data(session, rows)
    elif how == "explain":
        print_rows(
            session, [_layer(row, each) for row in rows for each in row["layers"]], LAYERS, empty="nothing is set"
        )
    else:
        rows = [row for row in rows if param or how == "all" or row["layers"]]
        if session.output == "wide":
            rows = [each for row in rows for each in (row, *_inside(row))]
        print_rows(session, rows, PARAMS, empty="nothing is set")


def _inside(row: Row) -> list[Row]:
    return [{"name": word["path"], **word} for word in row["inside"]]


def _layer(row: Row, layer: dict[str, Any]) -> Row:
    return {"name": row["name"], **layer}
