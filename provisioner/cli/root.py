"""The tree of commands. A module is imported only when its command is used: the shell's completion feels each one."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import click

from provisioner.cli.exits import Exit, exit_of
from provisioner.cli.session import Group, Session, complain
from provisioner.cli.text import error_lines, printable
from provisioner.errors import ProvisionerError


class Entry(NamedTuple):
    """A command: where it is, and its line of help, which is shown without importing it."""

    name: str
    place: str
    """module:attribute under `provisioner.cli`."""
    help: str


SECTIONS: dict[str, tuple[Entry, ...]] = {
    "Machines": (
        Entry("machines", "machines:machines", "list all machines"),
        Entry("show", "machines:show", "show all that is known of one"),
        Entry("enrol", "machines:enrol", "put one on record, with its BMC"),
        Entry("boot", "boot:boot", "take machines to an operating system"),
        Entry("render", "preview:render", "print what a machine would get, and touch nothing"),
        Entry("params", "preview:params", "show its parameters, and where each comes from"),
        Entry("discover", "boot:discover", "read a machine's hardware anew"),
        Entry("rollout", "fleet:rollout", "install many machines, some at a time"),
        Entry("rollouts", "fleet:rollouts", "list rollouts, or the machines of one"),
        Entry("rollout-pause", "fleet:pause_rollout", "begin no further machines"),
        Entry("rollout-resume", "fleet:resume_rollout", "go on with one that is paused"),
        Entry("rollout-abort", "fleet:abort_rollout", "end one; what is under way goes on"),
        Entry("workflow", "workflow:workflow", "steps of your own over many machines: run, watch, steer"),
        Entry("release", "boot:release", "erase machines and give them back"),
        Entry("cancel", "cancel:cancel", "end what is under way"),
        Entry("resume", "boot:resume", "take up what failed or was cancelled"),
        Entry("power", "boot:power", "switch a machine on, off, or restart it"),
        Entry("rescue", "boot:rescue", "boot a system in memory to mend a machine"),
        Entry("unrescue", "boot:unrescue", "boot machines from their disks again after that"),
        Entry("hold", "rest:hold", "keep machines back, with a reason"),
        Entry("let-go", "rest:let_go", "end a hold"),
        Entry("adopt", "rest:adopt", "say what a machine already runs"),
        Entry("boot-via", "rest:boot_via", "say how machines boot: PXE, UEFI HTTP boot, or a CD of their own"),
        Entry("retire", "rest:retire", "take machines out of use"),
        Entry("unretire", "rest:unretire", "take them into use again"),
        Entry("forget", "machines:forget", "take one off the record"),
    ),
    "What happened": (
        Entry("trace", "watch:trace", "a machine's journey, one line a step"),
        Entry("events", "watch:events", "what changed, over all machines"),
        Entry("why", "why:why", "what a machine waits for, or why it failed"),
        Entry("explain", "explain:explain", "what would be said to a boot request, and why"),
        Entry("doctor", "doctor:doctor", "test the running services as a machine would"),
    ),
    "What machines boot": (
        Entry("bootenvs", "site:bootenvs", "list operating systems"),
        Entry("lint", "lint:lint", "render every bootenv for every kind of machine and validate it"),
        Entry("artifacts", "artifacts:artifacts", "fetch, import and list kernels and images"),
        Entry("images", "images:images", "build the discovery system and disk images"),
        Entry("loaders", "loaders:loaders", "list and check boot loaders"),
    ),
    "This site": (
        Entry("dhcp", "dhcp:dhcp", "leases, reservations, subnets; import and export"),
        Entry("ca", "ca:ca", "the certificate that firmware has to trust for HTTPS"),
        Entry("lab", "lab:lab", "a virtual rack to try everything without servers"),
        Entry("bmc", "bmc:bmc", "talk to a BMC by itself"),
        Entry("plan", "declare:plan", "what a directory of machines and bootenvs would change"),
        Entry("apply", "declare:apply", "bring the daemon to it, all or nothing"),
        Entry("check", "check:check", "check the configuration, start nothing"),
        Entry("backup", "backup:backup", "copy what cannot be made again into a new folder"),
        Entry("info", "site:info", "which daemon answers, and where it listens"),
        Entry("completion", "site:completion", "completion for bash, zsh, fish"),
    ),
}
ALIASES = {"machine": "show", "ls": "machines"}


class Root(Group):
    """Finds commands by the table above."""

    def __init__(self, sections: dict[str, tuple[Entry, ...]], **settings: Any) -> None:
        super().__init__(**settings)
        self._sections = sections
        self._entries = {entry.name: entry for entries in sections.values() for entry in entries}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands that are there."""
        return [name for name, entry in self._entries.items() if _module(entry)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        entry = self._entries.get(ALIASES.get(cmd_name, cmd_name))
        if entry is None or not (module := _module(entry)):
            return None
        found = getattr(import_module(module), entry.place.partition(":")[2])
        assert isinstance(found, click.Command)
        found.short_help = entry.help
        return found

    def names(self, ctx: click.Context) -> list[str]:
        """Name all that may be typed."""
        return [*self.list_commands(ctx), *ALIASES]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section."""
        there = set(self.list_commands(ctx))
        for title, entries in self._sections.items():
            if rows := [(entry.name, entry.help) for entry in entries if entry.name in there]:
                with formatter.section(title):
                    formatter.write_dl(rows, col_spacing=3)


def _module(entry: Entry) -> str:
    """Name the module of a command; empty where this installation does not have it."""
    name = f"{__package__}.{entry.place.partition(':')[0]}"
    return name if find_spec(name) is not None else ""


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"provisionctl {version('provisioner')}")
        ctx.exit()


HELP = """Take servers from power-on to a running system.

\b
  provisionctl lab up                          try it without servers
  provisionctl machines                        what is there
  provisionctl boot node17 debian-12 --wait    install it
  provisionctl trace node17                    what happened
  provisionctl COMMAND --help                  what each command does
"""

root = Root(
    SECTIONS,
    name="provisionctl",
    help=HELP,
    params=[
        click.Option(
            ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
        ),
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def run(args: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status. Whatever was wrong is told in a line, on stderr."""
    session = Session()
    _mend_streams()
    stdout = sys.stdout
    try:
        status = root.main(args, "provisionctl", standalone_mode=False, obj=session)
    except SystemExit:
        if sys.stdout is stdout:
            raise
        sys.stdout = stdout  # click has put something in its place: nobody reads us any more
        return _ended_by(BrokenPipeError())
    except (click.Abort, click.ClickException, ProvisionerError, KeyboardInterrupt, OSError) as error:
        if session.verbose and isinstance(error, ProvisionerError | OSError):
            click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
        return _ended_by(error)
    return status if isinstance(status, int) else Exit.OK


def _mend_streams() -> None:
    """Have all three streams take what comes: who closed one (`>&-`) means nothing, and not the next file we open."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # in the C locale of a cron job, or Latin 1, there is no "…"


def _ended_by(error: BaseException) -> int:
    match error:
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
            return Exit.USAGE
        case click.ClickException():
            return _usage(error)
        case BrokenPipeError():  # `| head` has seen enough; the interpreter must not flush to it once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE
        case ProvisionerError() | OSError():
            told = error if isinstance(error, ProvisionerError) else _of_a_file(error)
            _say(told)
            return exit_of(told)
        case click.Abort() if not isinstance(error.__cause__, KeyboardInterrupt):
            click.echo("nothing was done", err=True)
            return Exit.FAILED
    return Exit.INTERRUPTED


def _of_a_file(error: OSError) -> ProvisionerError:
    """Say which file of the operator's could not be read or written."""
    hint = "root may: use sudo" if isinstance(error, PermissionError) else ""
    return ProvisionerError(f"{error.filename or 'this machine'}: {error.strerror or error}", hint=hint)


def _usage(error: click.ClickException) -> int:
    where = getattr(error, "ctx", None)
    path = where.command_path if where else "provisionctl"
    text = printable(" ".join(error.format_message().split())).rstrip(".")
    text = text[:1].lower() + text[1:] if not text[:2].isupper() else text
    complain(f"{path}: {text} (`{path} --help`)")
    return error.exit_code


def _say(error: ProvisionerError) -> None:
    """Say an error in one line, with a line more for each fault where there are several."""
    for line in error_lines(error, "provisionctl: "):
        complain(line)
