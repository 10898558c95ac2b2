"""A package that breaks every rule of .ci/layers.py, and one that breaks none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LAYERS = Path(__file__).parents[2] / ".ci/layers.py"

GOOD = {
    "errors": "",
    "model/net": "import netaddr",
    "boot/plan": "from provisioner.model import net",
    "dhcp/server": "import asyncio\nfrom provisioner.boot import plan",
    "bmc/ipmi/driver": "import pyghmi",
    "daemon": "from provisioner.dhcp import server",
}
BAD = {
    "module in no package of the table": ("helpers", "import re", "provisioner.helpers: no line of TABLE"),
    "package that does work when imported": ("extra/__init__", "import re", "provisioner.extra: no line of TABLE"),
    "ground imports a rule": ("model/top", "from provisioner.boot import plan", "model.top -> provisioner.boot.plan"),
    "rule imports a shell": ("boot/up", "import provisioner.dhcp.server", "boot.up -> provisioner.dhcp.server"),
    "shell imports the root": ("web/app", "def f():\n    import provisioner.daemon", "web.app -> provisioner.daemon"),
    "rule waits": ("boot/wait", "import asyncio", "boot.wait -> asyncio"),
    "rule reads a clock": ("boot/clock", "from time import monotonic", "boot.clock -> time"),
    "rule opens a socket": ("boot/net", "import socket", "boot.net -> socket"),
    "rule throws dice": ("boot/dice", "import random", "boot.dice -> random"),
    "ground asks the system": ("model/system", "import os.path", "model.system -> os"),
    "rule speaks HTTP": ("boot/http", "from aiohttp import web", "boot.http -> aiohttp"),
    "scapy in the daemon": ("dhcp/link", "from scapy.all import Ether", "dhcp.link -> scapy"),
    "YAML read out of its home": ("web/forms", "import yaml", "web.forms -> yaml"),
    "library nobody asked for": ("web/get", "import requests", "requests: no line of HOMES"),
    "driver knows another driver": (
        "bmc/redfish/a",
        "import provisioner.bmc.ipmi.driver",
        "redfish.a -> provisioner.bmc.ipmi",
    ),
    "modules in a circle": ("boot/plan", "import provisioner.boot.ring", "a circle of imports"),
    "the circle's other half": ("boot/ring", "import provisioner.boot.plan", "provisioner.boot.ring"),
}


def run(root: Path, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    for name, text in files.items():
        path = root / f"provisioner/{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for package in (root / "provisioner", path.parent, path.parent.parent):
            if package.is_relative_to(root / "provisioner"):
                (package / "__init__.py").touch()
    return subprocess.run([sys.executable, LAYERS, root], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    return run(tmp_path_factory.mktemp("bad"), GOOD | {name: text for name, text, _ in BAD.values()})


@pytest.mark.parametrize("fault", [fault for *_, fault in BAD.values()], ids=BAD.keys())
def test_a_bad_import_is_told(bad: subprocess.CompletedProcess[str], fault: str) -> None:
    assert bad.returncode == 1
    assert fault in bad.stdout


def test_good_imports_pass(tmp_path: Path) -> None:
    result = run(tmp_path, GOOD)
    assert result.returncode == 0, result.stdout + result.stderr
