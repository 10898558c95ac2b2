"""The wheel: in an environment of its own it has its commands and finds its bootenvs."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # builds, makes an environment, starts programs in it

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the files as they are."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel in it. The libraries that it depends on are seen, our source tree is not."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--no-deps", wheel, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return folder


def test_the_wheel_carries_its_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {"provisioner"}
    for path in ("bootenvs", "templates"):
        sources = {file.relative_to(ROOT).as_posix() for file in (ROOT / path).rglob("*") if file.is_file()}
        assert {f"provisioner/data/{source}" for source in sources} <= set(names)
    assert "provisioner/py.typed" in names


def test_the_installed_package_finds_its_bootenvs(environment: Path) -> None:
    script = "from provisioner.catalog.load import Catalog, shipped; print(shipped(), *Catalog.load().names())"
    shipped, *bootenvs = run(environment / "bin/python", "-c", script, cwd=environment).split()
    assert Path(shipped).is_relative_to(environment)
    assert bootenvs == sorted(path.stem for path in (ROOT / "bootenvs").glob("*.yaml"))


COMMANDS = {
    "the daemon says how it is started": (("provisionerd", "--help"), "--interface NAME"),
    "the daemon reads its catalogue and its settings": (("provisionerd", "--check", "--config", "/dev/null"), ""),
    "the daemon prints all settings": (("provisionerd", "--example-config"), "state_dir:"),
    "the command line says what it can do": (("provisionctl", "--help"), "provisionctl boot node17"),
    "the command line has its version": (("provisionctl", "--version"), "0.1.0"),
}


@pytest.mark.parametrize(("command", "said"), COMMANDS.values(), ids=COMMANDS.keys())
def test_installed_commands_work(environment: Path, command: tuple[str, ...], said: str) -> None:
    program, *arguments = command
    assert said in run(environment / "bin" / program, *arguments, cwd=environment)
