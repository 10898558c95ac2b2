"""`boot`, `discover`, `release`, `power`: what makes machines move."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import click

from provisioner.cli.asking import RESETS, STOPS, YES, ask_back
from provisioner.cli.bootplan import plan_lines
from provisioner.cli.client import Client
from provisioner.cli.complete import bootenv_names
from provisioner.cli.many import change_each, for_each
from provisioner.cli.output import print_changed, print_data, print_lines
from provisioner.cli.progress import wait_for
from provisioner.cli.session import Session, command
from provisioner.cli.setting import in_query, sets
from provisioner.cli.text import Row, parse_span, printable
from provisioner.cli.typed import MACHINES
from provisioner.cli.urls import quoted
from provisioner.errors import ConflictError, PreflightError
from provisioner.model.names import run_name

DEFAULT_WAIT = "90m"


class Span(click.ParamType[float]):
    """A duration such as 90m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it as seconds."""
        seconds = value if isinstance(value, float) else parse_span(str(value))
        if seconds is None:
            self.fail(f"{value!r} is not a duration; write 90m, 1h30m or 45s", param, ctx)
        return seconds


def _of_wait(ctx: click.Context, param: click.Parameter, value: float) -> float:
    """Refuse --timeout where nothing is waited for: the work itself would have no end by it."""
    assert param.name is not None
    if not ctx.params["wait"] and ctx.get_parameter_source(param.name) is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("--timeout ends the waiting, and without --wait there is none", ctx)
    return value


def waits(function: Callable[..., None]) -> Callable[..., None]:
    """Add --wait and --timeout."""
    wait = click.option(
        "--wait",
        is_flag=True,
        is_eager=True,  # what --timeout goes with is known when that is read
        help="Show progress until it is done; exit 0, or 1 with the reason.",
    )
    timeout = click.option(
        "--timeout",
        type=Span(),
        default=DEFAULT_WAIT,
        show_default=True,
        callback=_of_wait,
        help="With --wait: give up waiting (not the work) after this, with exit status 124.",
    )
    return wait(timeout(function))


@command("boot")
@MACHINES
@click.argument("bootenv", shell_complete=bootenv_names)
@click.option("--plan", is_flag=True, help="Say all that would happen, and touch nothing.")
@click.option(
    "--via",
    type=click.Choice(["network", "media"]),
    help="From the network, or without DHCP from a CD in its BMC's virtual drive.  [default: as `boot-via` says]",
)
@sets
@YES
@waits
def boot(session: Session, machines: list[str], bootenv: str, **given: Any) -> None:
    """Take machines to an operating system.

    Each is told by its BMC to boot from the network once, and restarted; BOOTENV is installed on its disk, it restarts
    from there and reports. What is on the disk is lost. Before any power is touched, everything that it needs is
    checked. --plan says what would happen: the answers of DHCP, loaders, boot script, files with their hashes, which
    disks lose what, and every check; it ends with the status of the boot. Several machines: node17,node18 or
    node[01-20].

    \b
      provisionctl boot node17 debian-12 --wait
      provisionctl boot node[01-20] debian-12
      provisionctl boot node17 ubuntu-22.04 --plan
      provisionctl boot node18 debian-12 --via media
      provisionctl boot node18 debian-12 --set disk.layout=lvm
    """
    client, params = session.client(), given["settings"]
    asked = {"bootenv": bootenv} | ({"via": given["via"]} if given["via"] else {})
    if given["plan"]:
        _show_plan(session, client, machines, asked | in_query(params))
        return
    seen = {} if given["yes"] else ask_back(client, machines, f"boot {bootenv}", lambda: _does(client, bootenv))
    body = asked | ({"params": params} if params else {})
    _each(session, client, machines, ("boot", body), given["timeout"] if given["wait"] else None, seen)


@command("discover")
@MACHINES
@YES
@waits
def discover(session: Session, machines: list[str], yes: bool, wait: bool, timeout: float) -> None:
    """Boot the discovery system and read a machine's hardware anew. Disks are left as they are.

    A machine in use is switched off, whatever runs on it, and started from its disk again after that.
    """
    client = session.client()
    seen = {} if yes else ask_back(client, machines, "discover", lambda: RESTARTS)
    _each(session, client, machines, ("boot", {"bootenv": "discovery"}), timeout if wait else None, seen)


@command("release")
@MACHINES
@click.option("--keep-data", is_flag=True, help="Do not erase the disks.")
@YES
@waits
def release(session: Session, machines: list[str], keep_data: bool, yes: bool, wait: bool, timeout: float) -> None:
    """Give machines back: erase their disks, power off, ready for the next use."""
    client = session.client()
    what, does = ("release --keep-data", STOPS) if keep_data else ("release", DESTROYS)
    seen = {} if yes else ask_back(client, machines, what, lambda: does)
    _each(session, client, machines, ("release", {"erase": not keep_data}), timeout if wait else None, seen)


@command("rescue")
@MACHINES
@YES
@waits
def rescue(session: Session, machines: list[str], yes: bool, wait: bool, timeout: float) -> None:
    """Boot machines into the rescue system, to be mended. Disks are left as they are; `unrescue` leads back.

    A machine in use is switched off, whatever runs on it.
    """
    client = session.client()
    seen = {} if yes else ask_back(client, machines, "rescue", lambda: STOPS)
    _each(session, client, machines, ("rescue", {}), timeout if wait else None, seen)


@command("unrescue")
@MACHINES
@waits
def unrescue(session: Session, machines: list[str], wait: bool, timeout: float) -> None:
    """Boot machines from their disks again, back to what they were before `rescue`."""
    _each(session, session.client(), machines, ("unrescue", {}), timeout if wait else None)


@command("resume")
@MACHINES
@waits
def resume(session: Session, machines: list[str], wait: bool, timeout: float) -> None:
    """Take up a run that failed or was cancelled, where that is safe, instead of beginning anew."""
    _each(session, session.client(), machines, ("resume", {}), timeout if wait else None)


@command("power")
@MACHINES
@click.argument("wanted", metavar="on|off|cycle|reset", type=click.Choice(["on", "off", "cycle", "reset"]))
@YES
def power(session: Session, machines: list[str], wanted: str, yes: bool) -> None:
    """Switch machines by their BMCs, and wait until it is so.

    off cuts the power like the button on its front: what runs on it is not asked.
    """
    client = session.client()
    seen: Mapping[str, int] = {}
    if not yes and wanted != "on":
        seen = ask_back(client, machines, f"power {wanted}", lambda: STOPS if wanted == "off" else RESETS)

    def ask(name: str) -> Row:
        key, path = str(uuid.uuid4()), f"/v1/machines/{quoted(name)}/power"
        machine: Row = client.post(path, {"power": wanted}, key=key, slow=True, generation=seen.get(name))
        return machine

    change_each(session, machines, ask, lambda machine: f"is {machine['power']}")


DESTROYS = "destroys what is on the disk"
RESTARTS = f"{STOPS}, and starts it from its disk again"
STARTS = f"{STOPS}, and starts what may write to its disk"
OF_KIND = {"disk": RESTARTS, "discovery": RESTARTS, "rescue": STOPS, "live": STARTS}


def _does(client: Client, bootenv: str) -> str:
    """Say what booting it does to a machine in use."""
    kinds = {row["name"]: row["kind"] for row in client.get("/v1/bootenvs")["bootenvs"]}
    return OF_KIND.get(kinds.get(bootenv, ""), DESTROYS)


def _each(
    session: Session,
    client: Client,
    machines: Sequence[str],
    intent: tuple[str, Mapping[str, Any]],
    wait_s: float | None,
    seen: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Ask for the same of each machine, say so, and wait if that is wanted. `seen`: the generations that it is for."""
    accepted: list[Row] = []
    verb, body = intent

    def ask(name: str) -> Row:
        key = str(uuid.uuid4())  # one for each intent: an answer that was lost is asked for again, not done again
        path = f"/v1/machines/{quoted(name)}/{verb}"
        machine: Row = client.post(path, body or None, key=key, slow=True, generation=seen.get(name))
        return machine

    def tell(machine: Row) -> None:
        accepted.append(machine)
        if wait_s is None:
            session.note(_started(machine))

    failure = for_each(machines, ask, tell)
    if wait_s is not None and accepted:
        failure = wait_for(session, client, {row["name"]: row["run"]["id"] for row in accepted}, wait_s) or failure
        accepted = client.machines([row["id"] for row in accepted])
    print_changed(session, machines, accepted)
    if failure is not None:
        raise failure


def _started(machine: Row) -> str:
    run, name = machine["run"], printable(machine["name"])
    what = printable(run_name(run["verb"], run["bootenv"]))
    return f"{name} is {machine['state']} ({what}): `provisionctl trace -f {name}` follows it"


def _show_plan(session: Session, client: Client, machines: Sequence[str], asked: Mapping[str, str]) -> None:
    """Tell what would happen to each machine, and end as the boot of them would."""
    found: dict[str, Row] = {}

    def ask(name: str) -> None:
        plan = found[name] = client.get(f"/v1/machines/{quoted(name)}/plan", asked, slow=True)
        failed = {check["name"] for check in plan["checks"] if not check["ok"]}
        if failed:
            refused = ConflictError if "state" in failed else PreflightError
            raise refused(f"boot {asked['bootenv']} would be refused; nothing was touched")

    failure = for_each(machines, ask, lambda _: None)
    plans = {name: found[name] for name in machines if name in found}
    if session.output in {"json", "yaml"}:
        print_data(session, plans)
    else:
        for plan in plans.values():
            print_lines(plan_lines(plan))
    if failure is not None:
        raise failure
