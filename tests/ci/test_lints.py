"""Each rule of .ci/lints.py is broken once, and kept once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.ci.load import load

ROOT = Path(__file__).parents[2]


LINTS = load("lints")
RULE = "provisioner/boot/plan.py"
SHELL = "provisioner/dhcp/server.py"
ROW = "| `dhcp.offer` | meaning | remedy |\n"
PROJECT = '[project]\ndependencies = ["aiohttp>=3.13"]\n[dependency-groups]\ndev = ["PyYAML>=6"]\n'

BROKEN = {
    "link to nowhere": ("dead_links", {"docs/a.md": "see\n[b](../b.md)"}, "docs/a.md:2: ../b.md is not there"),
    "401 lines": ("file_size", {RULE: "x = 1\n" * 401}, "401 lines"),
    "rule compares with a vendor": ("vendor_names", {RULE: "def f(v): return v == 'Dell Inc.'"}, "plan.py:1"),
    "rule looks for a vendor in a text": ("vendor_names", {RULE: "def f(v): return 'supermicro' in v"}, "plan.py:1"),
    "rule asks for the start of a name": ("vendor_names", {RULE: "def f(v): return v.startswith('HPE')"}, "plan.py:1"),
    "rule matches a provider": (
        "vendor_names",
        {"provisioner/workload/allocate.py": "def f(p):\n match p:\n  case 'aws': pass"},
        "allocate.py:2",
    ),
    "rule asks whose it is": ("vendor_names", {RULE: "def f(m): return m.vendor == 'unheard of'"}, "plan.py:1"),
    "template asks for a vendor": (
        "vendor_names",
        {"templates/a.j2": "\n{% if name == 'dell' %}{% endif %}"},
        "a.j2:2",
    ),
    "template asks whose it is": ("vendor_names", {"templates/a.j2": "{%- if m.provider != 'x' %}"}, "a.j2:1"),
    "test of no module": (
        "mirrored_tests",
        {"tests/boot/test_other.py": "from provisioner.boot.plan import next_boot"},
        "mirrors no module",
    ),
    "sentence in the log": ("message_ids", {SHELL: "log.info('offered %s', ip)"}, "does not start with an event id"),
    "id that nobody explains": ("message_ids", {SHELL: "log.info('dhcp.offer ip=%s', ip)"}, "not explained"),
    "traced id that nobody explains": ("message_ids", {SHELL: "TraceLine(1.0, c, 'dhcp.offer', t)"}, "not explained"),
    "named traced id": ("message_ids", {SHELL: "TraceLine(at=1.0, event='dhcp.offer')"}, "not explained"),
    "id from elsewhere in the module": (
        "message_ids",
        {SHELL: "E = 'dhcp.offer'\nlog.info('%s x', E)"},
        "not explained",
    ),
    "id that the code no longer knows": ("message_ids", {"docs/messages.md": ROW}, "nowhere"),
    "path of one machine": ("machine_paths", {"README.md": "see /" + "work/main/x"}, "README.md:1"),
    "host of a registry": ("machine_paths", {"a.lock": "\n--index https://py" + "pi.org/simple"}, "a.lock:2"),
    "rule waits": ("pure_rules", {RULE: "async def f():\n  await g()"}, "waits"),
    "rule opens a file": ("pure_rules", {RULE: "def f(p): return open(p)"}, "calls open()"),
    "rule reads a file by its path": ("pure_rules", {RULE: "def f(p): return p.read_text()"}, "read_text()"),
    "rule reads the date": ("pure_rules", {RULE: "def f(): return datetime.now(UTC)"}, "reads a clock"),
    "rule makes an id": ("pure_rules", {RULE: "def f(): return uuid.uuid4()"}, "throws dice"),
    "rule keeps state": ("pure_rules", {RULE: "def f():\n  global n\n  n = 1"}, "changes the module's n"),
    "dependency that is not locked": ("lock_covers", {"pyproject.toml": PROJECT}, "locked at None"),
    "lock older than allowed": (
        "lock_covers",
        {"pyproject.toml": PROJECT, "scripts/requirements.lock": "aiohttp==3.9.0 \\\npyyaml==6.0.3 \\\n"},
        "locked at 3.9.0",
    ),
    "another module is imported than is at hand": (
        "first_use",
        {SHELL: "async def f():\n  await at_hand('dns.update')\n  import dns.name"},
        "server.py:2: dns.update is not imported",
    ),
    "it is imported before it is at hand": (
        "first_use",
        {SHELL: "async def f():\n  import asyncssh\n  await at_hand('asyncssh')"},
        "server.py:3: asyncssh is not imported",
    ),
    "test sleeps": ("sleeping_tests", {"tests/test_a.py": "async def test(): await asyncio.sleep(1)"}, "test_a.py:1"),
}
KEPT = {
    "links that lead somewhere": (
        "dead_links",
        {
            "docs/a.md": "[b](../b.md) [c](b/) [d](https://example.org/x) [e](#here) `[f](g)`",
            "b.md": "",
            "docs/b/c.md": "",
        },
    ),
    "400 lines": ("file_size", {RULE: "x = 1\n" * 400}),
    "driver knows its vendor": ("vendor_names", {"provisioner/bmc/redfish/oem.py": "def f(v): return v == 'Dell'"}),
    "word that contains a vendor's": ("vendor_names", {RULE: "def f(v): return v == 'whp-hostname'"}),
    "template writes a vendor's name": ("vendor_names", {"templates/a.j2": "{{ vendor }} {% if x == 'y' %}"}),
    "test of an aspect": ("mirrored_tests", {RULE: "", "tests/boot/test_plan_rescue.py": "def test(): pass"}),
    "test of several modules of its folder": (
        "mirrored_tests",
        {"tests/boot/test_faults.py": "from provisioner.boot.plan import a\nfrom provisioner.boot.script import b"},
    ),
    "test across modules": ("mirrored_tests", {"tests/dhcp/test_dora.py": "pytestmark = pytest.mark.netns"}),
    "explained id": ("message_ids", {SHELL: "log.info('dhcp.offer ip=%s', ip)", "docs/messages.md": ROW}),
    "id that is joined to its area": (
        "message_ids",
        {SHELL: "event = f'life.{kind}'", RULE: "KIND = 'run.done'", "docs/messages.md": "| `life.run.done` | |\n"},
    ),
    "name of a step beside ids from elsewhere": ("message_ids", {SHELL: "S = 'wait.job'\nlog.info('%s x', E)"}),
    "promise of a coroutine": ("pure_rules", {RULE: 'class P:\n  async def f(self): "It waits."'}),
    "shell waits": ("pure_rules", {SHELL: "async def f(): await g()"}),
    "lock that fits": (
        "lock_covers",
        {"pyproject.toml": PROJECT, "scripts/requirements.lock": "aiohttp==3.14.5 \\\npyyaml==6.0.3 \\\n"},
    ),
    "module of a package at hand, then imported": (
        "first_use",
        {SHELL: "async def f():\n  await at_hand('redfish.aio')\n  from redfish import aio"},
    ),
    "fake that lags": ("sleeping_tests", {"tests/bmc/fake.py": "async def power(): await asyncio.sleep(1)"}),
    "sleep with its reason": ("sleeping_tests", {"tests/test_a.py": "await asyncio.sleep(1)  # the lock is held"}),
    "sleep until something holds": ("sleeping_tests", {"tests/test_a.py": "while not done():\n  time.sleep(0.01)"}),
    "sleep in virtual time": (
        "sleeping_tests",
        {"tests/test_a.py": "@pytest.mark.looptime\nasync def test(): await asyncio.sleep(1)"},
    ),
}


@pytest.mark.parametrize(("lint", "files", "fault"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_rule_is_told(lint: str, files: dict[str, str], fault: str) -> None:
    found = list(getattr(LINTS, lint)(files))
    assert any(fault in line for line in found), found


@pytest.mark.parametrize(("lint", "files"), KEPT.values(), ids=KEPT.keys())
def test_a_kept_rule_is_silent(lint: str, files: dict[str, str]) -> None:
    assert list(getattr(LINTS, lint)(files)) == []


def test_every_rule_is_broken_and_run() -> None:
    assert {lint.__name__ for lint in LINTS.LINTS} == {lint for lint, *_ in BROKEN.values()}


def test_the_command_fails_with_the_faults(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "binary.img").write_bytes(b"\0\xff")
    result = subprocess.run(
        [sys.executable, ROOT / ".ci/lints.py", tmp_path], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "run scripts/lock  [lock_covers]" in result.stdout
