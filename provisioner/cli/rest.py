"""`hold`, `let-go`, `adopt`, `boot-via`, `retire`, `unretire`: what an operator says of machines that rest."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import click

from provisioner.cli.machines import BOOT_WAYS
from provisioner.cli.many import change_each
from provisioner.cli.session import Session, command
from provisioner.cli.text import Row
from provisioner.cli.typed import MACHINES
from provisioner.cli.urls import quoted


@command("hold")
@MACHINES
@click.argument("reason")
@click.option("--quarantine", is_flag=True, help="Something is wrong with it, not only work to be done.")
def hold(session: Session, machines: list[str], reason: str, quarantine: bool) -> None:
    """Keep machines back: nothing is started on them until they are let go.

    REASON is shown to whoever finds them held.

    \b
      provisionctl hold node17 "new DIMM on Tuesday"
    """
    _say(session, machines, "hold", {"reason": reason, "quarantine": quarantine})


@command("let-go")
@MACHINES
def let_go(session: Session, machines: list[str]) -> None:
    """End a hold: machines go back to the state that they came from."""
    _say(session, machines, "let-go")


@command("adopt")
@MACHINES
@click.argument("bootenv")
def adopt(session: Session, machines: list[str], bootenv: str) -> None:
    """Put on record that machines already run BOOTENV.

    From then on they boot their disks, and nothing is installed over it without being asked for. BOOTENV may be a
    name of your own.
    """
    _say(session, machines, "adopt", {"bootenv": bootenv})


@command("boot-via")
@MACHINES
@click.argument("way", type=BOOT_WAYS)
def boot_via(session: Session, machines: list[str], way: str) -> None:
    """Have machines boot another way from now on: PXE, UEFI HTTP boot, or media, a CD of their own.

    What is under way goes on as it began. `boot --via` chooses for one boot.
    """
    _say(session, machines, "boot-via", {"boot_via": way}, lambda machine: f"boots by {machine['boot_via']}")


@command("retire")
@MACHINES
def retire(session: Session, machines: list[str]) -> None:
    """Take machines out of use for good. Their record stays, so that they are known if they come back."""
    _say(session, machines, "retire")


@command("unretire")
@MACHINES
def unretire(session: Session, machines: list[str]) -> None:
    """Take retired machines into use again; they have to be discovered anew."""
    _say(session, machines, "unretire")


def _say(
    session: Session,
    machines: list[str],
    verb: str,
    body: dict[str, Any] | None = None,
    how: Callable[[Row], str] = lambda machine: f"is {machine['state']}",
) -> None:
    client = session.client()

    def ask(name: str) -> Row:
        machine: Row = client.post(f"/v1/machines/{quoted(name)}/{verb}", body, key=str(uuid.uuid4()))
        return machine

    change_each(session, machines, ask, how)
