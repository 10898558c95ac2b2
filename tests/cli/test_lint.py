"""`lint`: what is wrong in a site's catalogue is found before any machine is; no daemon is needed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner.catalog.fleet import FLEET
from provisioner.catalog.load import Catalog
from provisioner.cli import lint as module
from provisioner.cli.root import run
from tests.shipped import catalogue

BOOTENV = """\
name: site-os
title: An operating system of the site
kind: live
family: site
untested: nobody here has such a machine
arch:
  amd64:
    kernel: vmlinuz
    args: quiet
    artifacts:
      vmlinuz: {url: "http://mirror.example/vmlinuz"}
answers:
  setup: {template: site/setup.sh.j2, validator: shellcheck}
"""

Lint = Callable[..., tuple[int, str, str]]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "bootenvs").mkdir()
    (tmp_path / "templates/site").mkdir(parents=True)
    (tmp_path / "bootenvs/site-os.yaml").write_text(BOOTENV)
    (tmp_path / "templates/site/setup.sh.j2").write_text("#!/bin/sh\necho {{ machine.name }}\n")
    return tmp_path


@pytest.fixture
def lint(site: Path, capsys: pytest.CaptureFixture[str]) -> Lint:
    def call(*args: str) -> tuple[int, str, str]:
        status = run(["lint", str(site), "--only", "site-os", *args])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_a_catalogue_in_order(lint: Lint) -> None:
    status, out, err = lint()
    assert status == 0, err
    assert out.splitlines()[1].split()[:4] == ["site-os", str(len(FLEET)), "of", str(len(FLEET))]
    assert "untested: nobody here has such a machine" in out
    assert "validated by shellcheck" in err


def test_what_was_booted_and_what_of_it_could_not_be_checked_are_both_told(site: Path, lint: Lint) -> None:
    (site / "bootenvs/site-os.yaml").write_text(BOOTENV.replace("untested:", "tested: in the rack\nuntested:"))
    _, out, _ = lint()
    assert "in the rack; untested: nobody here has such a machine" in out


def test_a_machine_that_one_architecture_cannot_start_is_one_of_the_other(site: Path, lint: Lint) -> None:
    """What starts by UEFI alone as arm64 starts by BIOS as amd64, and is looked at there."""
    arm64 = BOOTENV.partition("  amd64:")[2].partition("answers:")[0]
    installer = BOOTENV.replace("kind: live", "kind: installer")
    (site / "bootenvs/site-os.yaml").write_text(
        installer.replace("answers:", f"  arm64:\n    firmware: [uefi]{arm64}answers:")
    )
    bios = '{% if boot.firmware == "bios" %}if true; then{% endif %}'
    (site / "templates/site/setup.sh.j2").write_text(f"#!/bin/sh\n{bios}\n")
    status, _, err = lint()
    assert status == 1
    assert "site-os/amd64/bios-vm/setup: shellcheck" in err


def test_for_scripts(lint: Lint) -> None:
    status, out, _ = lint("-o", "json")
    found = json.loads(out)
    assert (status, found["ok"], found["faults"], found["asked"]) == (0, True, [], ["shellcheck"])
    assert found["bootenvs"][0]["files"] == len(FLEET) * 2


UNREADABLE = {
    "a name that nothing has": ("echo {{ machin.name }}", "machin: no such name"),
    "a template that cannot be read": ("{% if %}", "Expected an expression"),
}
TYPOS = {
    "a key that nothing has": ("echo {{ machine.nme }}", "nme"),
    "a key behind a name": ("{% set net = system.net %}{% if false %}{{ net.typo }}{% endif %}", "system.net.typo: no"),
    "a key of an item that no machine has": (
        '{% for link in system.net.links if link.kind == "nope" %}{{ link.typo }}{% endfor %}',
        "system.net.links[].typo: no such value; there is ",
    ),
    "a key in brackets": ('{% if false %}{{ system["disk"]["tpyo"] }}{% endif %}', "system.disk.tpyo: no such value"),
    "a key with a default": ('echo {{ params.disk.layuot | default("x") }}', "params.disk.layuot: no such value"),
    "a key that may be there": ('echo {{ system.get("tpyo") }}', "system.tpyo: no such value"),
    "a refusal of every machine": ('{{ fail("never") }}', "suits none of"),
    "a script that no shell takes": ("if true; then\n", "shellcheck"),
}


@pytest.mark.parametrize(("text", "said"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_template_that_nobody_can_use_fails(lint: Lint, site: Path, text: str, said: str) -> None:
    (site / "templates/site/setup.sh.j2").write_text(f"#!/bin/sh\n{text}\n")
    status, _, err = lint("-q")
    assert status == 1
    assert said in err
    status, out, _ = lint("-q", "-o", "json")
    assert (status, json.loads(out)["ok"]) == (1, False)


def test_each_typo_fails(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All in one catalogue, in a bootenv each: one look is a second."""
    names = [f"site-{number}" for number, _ in enumerate(TYPOS)]
    for name, (text, _) in zip(names, TYPOS.values(), strict=True):
        (site / f"bootenvs/{name}.yaml").write_text(BOOTENV.replace("site-os", name).replace("setup.sh", f"{name}.sh"))
        (site / f"templates/site/{name}.sh.j2").write_text(f"#!/bin/sh\n{text}\n")
    ask = ["lint", str(site), "-q", *(word for name in names for word in ("--only", name))]
    assert run(ask) == 1
    faults = capsys.readouterr().err.splitlines()
    assert run([*ask, "-o", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
    for name, (case, (_, said)) in zip(names, TYPOS.items(), strict=True):
        assert [line for line in faults if name in line and said in line], f"{case}: {faults}"


def test_a_validator_that_is_not_installed_is_named(lint: Lint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    status, _, err = lint()
    assert status == 0
    assert "not asked, since it is not installed: shellcheck (package shellcheck)" in err
    status, _, err = lint("--strict")
    assert status == 1
    assert "shellcheck (package shellcheck) is not installed" in err


def test_a_bootenv_that_is_not_there(lint: Lint) -> None:
    assert run(["lint", "--only", "nothing"]) == 3


class Screen:
    """A terminal that somebody watches."""

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        return


def test_a_terminal_shows_how_far_it_is(lint: Lint, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(module.sys, "stderr", screen)
    assert lint()[0] == 0
    assert "site-os" in screen.text


def test_profiles_of_the_site_are_rendered_too(lint: Lint, site: Path) -> None:
    (site / "bootenvs/values/profiles").mkdir(parents=True)
    (site / "bootenvs/values/profiles/storage.yaml").write_text("disk:\n  layout: raid1\n")
    found = json.loads(lint("-o", "json")[1])
    assert "profile storage on uefi-storage" in found["bootenvs"][0]["taken"]
    assert len(found["bootenvs"][0]["taken"]) == len(FLEET) + 3


def test_what_no_machine_has_is_found_where_no_machine_goes() -> None:
    from provisioner.catalog.proving import unknown_paths
    from provisioner.catalog.render import Renderer

    text = (
        "#!/bin/sh\n{% if false %}{{ system.disk.layuot }}{{ params.disk.layout }}{{ facts.nics.speed }}{% endif %}\n"
    )
    ours = catalogue().content
    content = type(ours)(
        ours.bootenvs, ours.aliases, ours.params, ours.declarations, {}, Renderer({"a.sh.j2": text}), ours.values
    )
    given = {"system": {"disk": {"layout": ""}}, "params": {"disk": {"layout": ""}}, "facts": {"nics": []}}
    assert list(unknown_paths(Catalog((), content), given)) == [
        "templates/a.sh.j2:2: system.disk.layuot: no such value; there is layout"
    ]


@pytest.mark.slow
def test_a_template_that_takes_for_ever_is_told(site: Path, lint: Lint) -> None:
    text = "#!/bin/sh\n" + "{% for a in range(4000) %}" * 3 + "{% endfor %}" * 3
    (site / "templates/site/setup.sh.j2").write_text(text)
    status, _, err = lint()
    assert status == 1
    assert re.search(r"setup\.sh\.j2\S* (took more than 2 s of processor time|the rendering did not end within)", err)
