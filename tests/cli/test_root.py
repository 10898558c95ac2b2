"""The tree of commands: quick to start, helpful with what was mistyped, one line for what went wrong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from provisioner.cli.exits import Exit
from provisioner.cli.root import ALIASES, SECTIONS, root, run
from provisioner.cli.session import common_options
from tests.cli.conftest import Ctl, Daemon

HEAVY = ("aiohttp", "asyncio", "rich", "msgspec", "netaddr", "yaml", "sqlite3", "cryptography", "jinja2")


@pytest.mark.parametrize("args", [["--version"], ["--help"], ["machines", "--help"], ["boot", "--help"]])
def test_a_command_imports_nothing_heavy(args: list[str]) -> None:
    program = f"""
import sys
from provisioner.cli.root import run
run({args!r})
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def commands() -> list[str]:
    return root.list_commands(click.Context(root))


@pytest.mark.parametrize("name", commands())
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Usage: provisionctl " + name)
    assert len(said.splitlines()) > 5
    assert max(map(len, said.splitlines())) <= 100


def test_nothing_typed_shows_the_help(ctl: Ctl) -> None:
    ran = ctl()
    assert (ran.status, ran.out) == (2, "")
    assert "provisionctl boot node17 debian-12 --wait" in ran.err.splitlines()[6]


def test_names_are_there_once() -> None:
    names = [entry.name for entries in SECTIONS.values() for entry in entries]
    assert len(names) == len(set(names))
    assert set(ALIASES.values()) <= set(names)
    assert not set(ALIASES) & set(names)


USAGE = {
    "no such command": (["machnes"], "provisionctl: no such command: 'machnes'; did you mean machines"),
    "nothing like it": (["zzz"], "provisionctl: no such command: 'zzz' (`provisionctl --help`)\n"),
    "a rack whose name leads elsewhere": (
        ["lab", "down", "--name", "../x"],
        "provisionctl lab down: invalid value for '--name': '../x': up to 32 lower-case letters, digits and hyphens",
    ),
    "a rack of no name": (["lab", "status", "--name", ""], "provisionctl lab status: invalid value for '--name': ''"),
    "a word that is missing, of several": (
        ["power", "node17"],
        "provisionctl power: missing argument 'on|off|cycle|reset'. Choose from: on, off, cycle, reset (`provisionctl",
    ),
    "no such option": (["machines", "--stat", "x"], "provisionctl machines: no such option '--stat'"),
    "an argument that is missing": (["boot", "node17"], "provisionctl boot: missing argument 'BOOTENV'"),
    "a format that is none": (["machines", "-o", "xml"], "provisionctl machines: invalid value for '-o' / '--output'"),
    "no URL of a BMC": (
        ["enrol", "a", "--bmc", "ipmi://10.0.0.1"],
        "provisionctl enrol: invalid value for '--bmc': 'ipmi://10.0.0.1': not the address of a BMC; write ipmi://USER@",
    ),
    "a target that is neither name nor URL": (
        ["bmc", "do", "http://a@b", "power.on"],
        "provisionctl bmc do: invalid value for 'TARGET': 'http://a@b': not the address of a BMC",
    ),
    "an argument of a verb": (
        ["bmc", "do", "node17", "power.on", "foo"],
        "provisionctl bmc do: invalid value for '[NAME=VALUE]...': 'foo': not NAME=VALUE",
    ),
    "a verb of no BMC": (
        ["bmc", "do", "ipmi://a@h", "power.explode"],
        "provisionctl bmc do: no verb 'power.explode'; `provisionctl bmc verbs` lists them",
    ),
    "a certificate that is none": (
        ["bmc", "do", "redfish://a@h", "power.on", "--pin", "xx"],
        "provisionctl bmc do: invalid value for '--pin': 'xx': not a SHA-256",
    ),
    "a range that is none": (
        ["boot", "node[x]", "debian-12"],
        "provisionctl boot: invalid value for 'MACHINE[,MACHINE...]': 'node[x]': 'x' is not a number",
    ),
    "a parameter without a value": (
        ["boot", "node17", "debian-12", "--set", "disk.layout"],
        "provisionctl boot: invalid value for '--set': 'disk.layout': not NAME=VALUE",
    ),
    "a network that is none": (
        ["bmc", "find", "10.0.0.0/99"],
        "provisionctl bmc find: invalid value for '[NETWORK]...': '10.0.0.0/99': not an address or network; such as",
    ),
    "no artefact's name": (
        ["artifacts", "import", "vmlinuz", "file"],
        "provisionctl artifacts import: invalid value for 'BOOTENV/[ARCH/]NAME': 'vmlinuz': not BOOTENV/NAME or",
    ),
    "an address that is none": (
        ["machines", "--server", "ftp://x/"],
        "provisionctl machines: 'ftp://x/': not an addre",
    ),
    "a port that is none": (
        ["machines", "--server", "http://h:abc"],
        "provisionctl machines: 'http://h:abc': not an a",
    ),
    "a port beyond all": (
        ["machines", "--server", "http://h:99999"],
        "provisionctl machines: 'http://h:99999': not an",
    ),
    "half an address": (
        ["machines", "--server", "http://[::1"],
        "provisionctl machines: 'http://[::1': not an address",
    ),
    "no such command of a group": (
        ["dhcp", "leses"],
        "provisionctl dhcp: no such command: 'leses'; did you mean leases",
    ),
    "a duration that is none": (
        ["boot", "a", "b", "--timeout", "soon"],
        "provisionctl boot: invalid value for '--timeout'",
    ),
    "a time for what is not waited for": (
        ["release", "node17", "--timeout", "5"],
        "provisionctl release: --timeout ends the waiting, and without --wait there is none (`provisionctl",
    ),
    "one that stands first": (
        ["rollout", "--timeout", "5m", "debian-12", "-l", "rack=r1"],
        "provisionctl rollout: --timeout ends the waiting",
    ),
}


@pytest.mark.parametrize(("args", "says"), USAGE.values(), ids=USAGE.keys())
def test_wrong_usage_is_one_line_and_exits_2(args: list[str], says: str, ctl: Ctl) -> None:
    ran = ctl(*args)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(says)
    assert ran.err.count("\n") == 1


WRONG = {
    "an unknown machine": (["show", "node71"], 3, "provisionctl: no machine is called 'node71' (did you mean node17?)"),
    "an unknown bootenv": (["boot", "node17", "debian"], 3, "provisionctl: no bootenv is called 'debian' (one of"),
    "nothing to cancel": (["cancel", "node17"], 4, "provisionctl: node17: nothing is under way"),
    "a taken name": (["enrol", "node17"], 4, "provisionctl: node17: this name is taken"),
    "a name that is none": (["enrol", "Node_17"], 1, "provisionctl: 'Node_17' cannot be enrolled: name: 'Node_17'"),
    "a missing artefact": (
        ["boot", "node17", "ubuntu-22.04"],
        1,
        "provisionctl: node17 cannot boot ubuntu-22.04: iso is missing: provisionctl artifacts fetch ubuntu-22.04",
    ),
    "a name that is not UTF-8": (["show", "\udcff"], 3, "provisionctl: no machine is called"),
    "a tag that is not UTF-8": (["machines", "--tag", "\udcff", "-l", "("], 2, "provisionctl: not a selector"),
}


@pytest.mark.parametrize(("args", "status", "says"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input_is_one_line_that_says_what_to_do(args: list[str], status: int, says: str, ctl: Ctl) -> None:
    ran = ctl(*args)
    assert (ran.status, ran.out) == (status, "")
    assert ran.err.startswith(says)
    assert ran.err.count("\n") == 1


def test_nobody_there_exits_6(ctl: Ctl, daemon: Daemon) -> None:
    daemon.stop()
    ran = ctl("machines")
    assert (ran.status, ran.out) == (6, "")
    assert ran.err.startswith(f"provisionctl: no daemon at {daemon.path}: No such file or directory (is it running?")


def test_a_file_that_is_no_socket_exits_6(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert ctl("machines", "--socket", str(tmp_path / "file")).status == 6


def test_something_else_that_answers_is_told(ctl: Ctl, tmp_path: Path) -> None:
    import socket
    import threading

    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "other.sock"))
        other.listen()

        def answer() -> None:
            with other.accept()[0] as peer:
                peer.recv(4096)
                peer.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        ran = ctl("machines", "--socket", str(tmp_path / "other.sock"))
        thread.join()
    assert ran.status == 1
    assert "not an HTTP answer" in ran.err


def test_the_socket_can_be_named_before_and_after_the_command(ctl: Ctl, daemon: Daemon, tmp_path: Path) -> None:
    assert ctl("--socket", str(daemon.path), "machines").status == 0
    assert ctl("machines", "--socket", str(tmp_path / "none")).status == 6
    assert ctl("--socket", str(tmp_path / "none"), "machines", "--socket", str(daemon.path)).status == 0


def every(command: click.Command, path: str = "provisionctl") -> Iterator[tuple[str, click.Command]]:
    """Walk all commands and groups, with what is typed to reach each."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            under = command.get_command(context, name)
            assert under is not None
            yield from every(under, f"{path} {name}")


EVERY = dict(every(root))


WORDS_OF_CLICK = re.compile(r" (TEXT|INTEGER|FLOAT|RANGE|PATH|BOOLEAN)\b")
"""What an option takes is called by its own name, not by its type."""


@pytest.mark.parametrize("path", EVERY.keys())
def test_help_fits_a_terminal_of_eighty_columns(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run([*path.split()[1:], "--help"]) == 0
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if len(line) > 80] == []
    assert "..." not in said.partition("Commands:")[2].partition("Options:")[0]
    assert WORDS_OF_CLICK.findall(said.replace("--socket PATH", "")) == []


@pytest.mark.parametrize("command", EVERY.values(), ids=EVERY.keys())
def test_the_options_of_every_command_stand_after_each_of_its_words(command: click.Command) -> None:
    names = [param.name for param in command.params]
    assert [names.count(param.name) for param in common_options()] == [1] * len(common_options())


def test_a_closed_pipe_ends_quietly(daemon: Daemon) -> None:
    line = f"{sys.executable} -m provisioner.cli --socket {daemon.path} show node17 -o json | true"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "")


NAMED = re.compile(r"provisionctl ((?:-[\w-]+ )*)([a-z][a-z-]*)(?: ([a-z][a-z-]+))?")
TELLING = ("provisioner/**/*.py", "docs/**/*.md", "bootenvs/**/*.yaml", "README.md", "CHANGELOG.md")
"""Where commands are named: in hints, in what `why` says to do, and in documents."""


def test_every_command_that_is_named_anywhere_exists() -> None:
    context, here = click.Context(root), Path(__file__).parents[2]
    missing = set()
    for path in (path for pattern in TELLING for path in here.glob(pattern)):
        for _, name, under in NAMED.findall(path.read_text()):
            command = root.get_command(context, name)
            if command is None or (under and isinstance(command, click.Group) and under not in command.commands):
                missing.add(f"{path.relative_to(here)}: provisionctl {name} {under}".rstrip())
    assert not missing


def test_verbose_adds_where_it_arose_and_changes_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, verbose = [], []
    for told, words in ((plain, ()), (verbose, ("-v",))):
        told += [run(["machines", "--socket", str(tmp_path / "none"), *words]), capsys.readouterr().err]
    assert plain[0] == verbose[0] == Exit.UNREACHABLE
    assert verbose[1].startswith("Traceback (most recent call last):\n")
    assert verbose[1].endswith(plain[1])


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_are_no_fault(closed: str, daemon: Daemon) -> None:
    for command in ("machines", "release node17 -y", "dhcp export --help"):
        line = f"{sys.executable} -m provisioner.cli --socket {daemon.path} {command} {closed}"
        ended = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_the_terminal_cannot_show_is_no_fault(encoding: str) -> None:
    code = "from provisioner.cli.root import run; run(['--version']); print('a \\u2026')"
    ended = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith("a …\n".encode() if encoding == "utf-8" else b"a \\u2026\n")


def test_who_is_read_no_longer_ends_as_by_a_broken_pipe() -> None:
    """`provisionctl bmc verbs | head -1`; not with 1, which says that it failed."""
    ours, its = os.pipe()
    os.close(ours)
    try:
        program = "import sys; from provisioner.cli.root import run; sys.exit(run(['bmc', 'verbs']))"
        ended = subprocess.run([sys.executable, "-c", program], stdout=its, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(its)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, b"")
