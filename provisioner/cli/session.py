"""What every command knows: where the daemon is, how to print, and the options that say so."""

from __future__ import annotations

import difflib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click

from provisioner.cli import client as api
from provisioner.cli.client import Client
from provisioner.cli.text import folded
from provisioner.errors import ConfigError

WHOLE = 1000
"""Characters of a sentence of help: more than any has, so none is cut."""
OUTPUTS = ("table", "wide", "json", "yaml", "name")


@dataclass
class Session:
    """The options that every command takes, as given before or after its name."""

    socket: str = ""
    server: str = ""
    output: str = "table"
    quiet: bool = False
    verbose: bool = False

    def client(self) -> Client:
        """Reach the daemon that the options, the environment or the machine we are on point at."""
        if given := self.server or self.socket or os.environ.get("PROVISIONER_SOCKET"):
            try:
                return Client(given, self.note)
            except ConfigError as error:
                raise click.UsageError(str(error), click.get_current_context(silent=True)) from error
        if not there(api.DEFAULT_SOCKET) and there(api.LAB_SOCKET):
            self.note(f"no {api.DEFAULT_SOCKET}: talking to the virtual rack at {api.LAB_SOCKET}")
            return Client(str(api.LAB_SOCKET), self.note)
        return Client(str(api.DEFAULT_SOCKET), self.note)

    def note(self, text: str) -> None:
        """Say something beside the data, on stderr; -q silences it."""
        if not self.quiet:
            click.echo(text, err=True)


def there(path: Path) -> bool:
    """Say whether something lies at a path; where we may not look, somebody else's does."""
    try:
        return path.exists()
    except PermissionError:
        return True


def session_of(ctx: click.Context) -> Session:
    """Find the session of this run."""
    return ctx.find_root().ensure_object(Session)


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Store an option in the session; what stands nearer to the end of the line wins."""
    assert param.name is not None
    source = ctx.get_parameter_source(param.name)
    if source is not click.core.ParameterSource.DEFAULT:
        setattr(session_of(ctx), param.name, value)


def _option(*names: str, **settings: Any) -> click.Option:
    return click.Option(names, expose_value=False, callback=_keep, **settings)


def common_options() -> list[click.Parameter]:
    """The options that every command takes."""
    return [
        _option("-o", "--output", type=click.Choice(OUTPUTS), metavar="FORMAT", help=f"{', '.join(OUTPUTS)}."),
        _option("--socket", metavar="PATH", help="The daemon's socket (or PROVISIONER_SOCKET)."),
        _option("--server", metavar="URL", help="The daemon behind a URL, such as a forwarded socket."),
        _option("-q", "--quiet", is_flag=True, help="No notes on stderr, errors only."),
        _option("-v", "--verbose", is_flag=True, help="On an error, where in the code it arose."),
    ]


class Command(click.Command):
    """A command that takes the common options, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += common_options()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show a command's own options first, then those of every command."""
        common = {param.name for param in common_options()}
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx)) is not None:
                (shared if param.name in common else own).append(record)
        for title, records in (("Options", own), ("Options of every command", shared)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class Group(Command, click.Group):
    """A group of commands, all of which take the common options, and so does what leads to them."""

    command_class = Command
    group_class = type

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the commands first, then the options."""
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with the whole of its first sentence."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, one.get_short_help_str(WHOLE)) for name, one in found if one is not None])

    def names(self, ctx: click.Context) -> list[str]:
        """Name all that may be typed."""
        return self.list_commands(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed, or name what it might have been."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.names(ctx), n=2)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise click.UsageError(f"no such command: {args[0]!r}{hint}", ctx) from error


Verb = Callable[..., None]


def command(name: str, *, short: str = "") -> Callable[[Verb], Command]:
    """Make a command of a function whose first argument is the session."""

    def make(function: Verb) -> Command:
        @click.pass_context
        def call(ctx: click.Context, /, **given: Any) -> None:
            function(session_of(ctx), **given)

        call.__doc__ = function.__doc__
        call.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
        return click.command(name, cls=Command, short_help=short or None)(call)

    return make


def is_terminal(stream: IO[str]) -> bool:
    """Say whether people are at the other end of this stream."""
    return stream.isatty()


def width_of(stream: IO[str]) -> int:
    """Say how many columns people have at the other end of this stream; 0 where nobody is there."""
    return shutil.get_terminal_size().columns if is_terminal(stream) else 0


def complain(line: str) -> None:
    """Say a line on stderr; on a terminal, folded at its words."""
    for part in folded(line, width_of(sys.stderr)):
        click.echo(part, err=True)


def colours() -> bool:
    """Say whether to colour stdout: a terminal, and nobody said NO_COLOR (no-color.org)."""
    return is_terminal(sys.stdout) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def read_first_line(path: str) -> str:
    """Read a password from the first line of a file."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            return file.readline().rstrip("\r\n")
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"--password-file {path}: {reason}") from error
