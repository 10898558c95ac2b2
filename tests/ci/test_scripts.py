"""The scripts: what they do not know they refuse, before anything is done; what they print fits, and can be pasted."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from provisioner.cli.root import run

ROOT = Path(__file__).parents[2]
WIDTH = 80


def called(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=20)


REFUSED = {
    "a word behind down": (("scripts/lab", "down", "bogus"), "'down bogus' is not known; usage: scripts/lab [down"),
    "an option cut short": (("scripts/lab", "down", "--al"), "'down --al' is not known"),
    "more than there is to say": (("scripts/lab", "down", "--all", "x"), "'down --all x' is not known"),
    "a word of its own": (("scripts/lab", "ups"), "'ups' is not known"),
    "a group that is none": (
        ("scripts/setup", "nosuchgroup"),
        "there is no group 'nosuchgroup'; there are: base bench",
    ),
    "one behind a good one": (("scripts/setup", "--packages", "base", "x"), "there is no group 'x'"),
}


@pytest.mark.parametrize(("words", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_known_is_refused(words: tuple[str, ...], said: str) -> None:
    ended = called(*words)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"{words[0]}: {said}")


@pytest.mark.parametrize("script", ["scripts/lab", "scripts/setup", "scripts/test", "scripts/bench"])
def test_help_is_how_it_is_called(script: str) -> None:
    ended = called(script, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"  {script}" in ended.stdout
    assert not any(line.startswith(("#", "set ")) for line in ended.stdout.splitlines())


CHOSEN = {
    "nothing, in no part": ((), "5 5 5", 1, "FAILED after \\d+ s: no test was chosen by: -k typo; "),
    "nothing, in the one part that is asked": (
        ("--fast",),
        "5",
        1,
        "FAILED after \\d+ s: no test was chosen by: -k typo; ",
    ),
    "something, of all there is": (("--long",), "5 0 5", 0, "all good in \\d+ s"),
    "something, in one part": ((), "5 0 5", 0, "all good in \\d+ s"),
    "something that fails": ((), "5 1 5", 1, "FAILED after \\d+ s: slow tests; "),
}


@pytest.mark.parametrize(("words", "parts", "status", "said"), CHOSEN.values(), ids=CHOSEN.keys())
def test_arguments_that_choose_no_test_are_a_failure(
    tmp_path: Path, words: tuple[str, ...], parts: str, status: int, said: str
) -> None:
    """The script beside checks that find nothing, and a pytest that ends as it is told, part by part."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    script = shutil.copy(ROOT / "scripts/test", tmp_path / "scripts")
    tool = tmp_path / "scripts/setup"
    tool.write_text(f"""#!/bin/sh
[ "$2" = pytest ] || exit 0
echo "$*" >> {tmp_path}/asked
read -r status left < {tmp_path}/parts
echo "$left" > {tmp_path}/parts
exit "$status"
""")
    tool.chmod(0o755)
    for name in ("ruff", "mypy", "python", "shellcheck"):
        (tmp_path / ".venv/bin" / name).symlink_to(tool)
    (tmp_path / "parts").write_text(f"{parts}\n")
    path = f"PATH={tmp_path}/.venv/bin:{os.environ['PATH']}"
    ended = called("env", path, script, *words, "-k", "typo")
    assert ended.returncode == status, ended.stdout
    assert re.fullmatch(f"scripts/test: {said}", ended.stdout.splitlines()[-1])
    assert (tmp_path / "parts").read_text() == "\n"
    slow = (tmp_path / "asked").read_text().splitlines()[1:]
    every = "--long" in words
    assert [("not long" not in line, "--all-points" in line) for line in slow] in ([], [(every, every), (every, False)])


@pytest.fixture(scope="module", params=["0", "1000"])
def told(request: pytest.FixtureRequest) -> str:
    """What scripts/lab says at its end, to root and to others."""
    functions = (ROOT / "scripts/lab").read_text().partition('\ncase "$*" in')[0]
    return called("bash", "-c", f"{functions}\nid() {{ echo {request.param}; }}\nnext_steps", "scripts/lab").stdout


def test_what_to_try_next_fits_and_stands_in_columns(told: str) -> None:
    lines = [line.rstrip() for line in told.splitlines() if "alias" not in line]
    assert max(map(len, lines)) <= WIDTH
    explained = [line for line in lines if line.startswith("  ") and not line.endswith("\\")]
    assert len(explained) == 8
    assert {(line[43:45].strip(), line[45:46].isalpha()) for line in explained} == {("", True)}


def commands(text: str) -> list[str]:
    """The commands of an indented block; what follows two blanks explains them."""
    return [re.split(r"  +", line.strip())[0] for line in text.splitlines() if re.match(r" +provisionctl ", line)]


def test_what_to_try_next_are_commands_that_there_are(told: str, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "README.md").read_text()
    found = commands(told) + commands(readme)
    assert len(found) > 12
    for command in found:
        words = [word for word in shlex.split(command)[1:] if word.startswith("--")]
        verbs = [word for word in shlex.split(command)[1:3] if re.fullmatch("[a-z-]+", word)]
        assert run([verbs[0], *(verbs[1:] if verbs[0] in ("lab", "bmc") else []), "--help"]) == 0
        helped = capsys.readouterr().out
        assert all(word in helped for word in words), command


@pytest.mark.slow
def test_the_line_of_the_readme_makes_the_command(tmp_path: Path) -> None:
    (line,) = re.findall(r"^    (alias .*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    (tmp_path / "sudo").write_text('#!/bin/sh\necho by sudo\nexec "$@"\n')
    (tmp_path / "sudo").chmod(0o755)
    shell = f"shopt -s expand_aliases\nPATH={tmp_path}:$PATH\nid() {{ echo $me; }}\n{line}\nprovisionctl --version"
    for me, said in (("0", []), ("1000", ["by sudo"])):
        ended = called("bash", "-c", f"me={me}\n{shell}")
        assert ended.stdout.splitlines()[:-1] == said
        assert ended.stdout.splitlines()[-1].startswith("provisionctl ")


def root_shell(folder: Path, apt_get: str, then: str) -> list[str]:
    """Say what root's shell of scripts/setup does, below layers that are thrown away, with this apt-get."""
    functions = (ROOT / "scripts/setup").read_text().partition("\nnew_enough()")[0]
    tool = folder / "apt-get"
    tool.write_text(apt_get)
    tool.chmod(0o755)
    (folder / "layers").mkdir()
    world = f"""
        mount -t tmpfs tmpfs {folder}/layers && cd {folder}/layers && mkdir 1 2 3 4
        mount -t overlay -o lowerdir=/etc,upperdir=1,workdir=2 overlay /etc
        mount -t overlay -o lowerdir=/usr/sbin,upperdir=3,workdir=4 overlay /usr/sbin
        {then}"""
    own = "unshare", "-m", "--propagation", "private", "bash", "-c", functions + world, "scripts/setup"
    ended = called("env", "--default-signal=HUP,INT,TERM", *own)  # whoever started us may ignore them
    assert "rror" not in ended.stderr, ended.stderr
    return ended.stdout.splitlines()


INSTALLED = {"where it comes now": (("jq", "cloud-init"), "off"), "where it does not": (("jq",), "as it was")}


@pytest.mark.netns
@pytest.mark.parametrize(("packages", "said"), INSTALLED.values(), ids=INSTALLED.keys())
def test_cloud_init_does_not_set_up_the_host_of_the_tests(packages: tuple[str, ...], said: str, tmp_path: Path) -> None:
    apt_get = '#!/bin/sh\ntest -x /usr/sbin/policy-rc.d && echo "$*"\n'
    then = f"""
        rm -f /etc/cloud/cloud-init.disabled
        PATH={tmp_path}:$PATH sh -c "$quietly" sh {" ".join(packages)} || exit
        test -e /etc/cloud/cloud-init.disabled && echo off || echo as it was"""
    assert root_shell(tmp_path, apt_get, then) == [f"install -y -q --no-install-recommends {' '.join(packages)}", said]


@pytest.mark.netns
@pytest.mark.parametrize("signal", ["HUP", "INT", "TERM", "KILL"])
def test_services_of_the_host_start_again_however_it_ends(signal: str, tmp_path: Path) -> None:
    """Also after Ctrl-C amid apt-get; what is left by a kill goes with the next one. Somebody else's stays."""
    apt_get = f'#!/bin/sh\n[ "$4" = --no-install-recommends ] && [ "$5" = killed ] && kill -{signal} $PPID\nexit 0\n'
    asked = f'PATH={tmp_path}:$PATH sh -c "$quietly" sh'
    then = f"""
        policy=/usr/sbin/policy-rc.d
        rm -f $policy
        {asked} killed || test -e $policy && echo left by the {signal}
        {asked} jq; test -e $policy && echo left
        echo of somebody else > $policy; {asked} jq; cat $policy"""
    left = ["left by the KILL"] if signal == "KILL" else []
    assert root_shell(tmp_path, apt_get, then) == [*left, "of somebody else"]
