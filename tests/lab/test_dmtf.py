"""DMTF's own programs judge and drive a simulated board, alone with it in a network namespace."""

from __future__ import annotations

import asyncio
import csv
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.lab.boards import PASSWORD, USER

pytestmark = [pytest.mark.peer, pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(600)]

LIMIT_S = 560.0
"""Each of these programs takes a second of the processor to begin, and there are dozens of them."""
PROGRAMS = Path(sys.executable).parent
LOGIN = ("-u", USER, "-p", PASSWORD, "-r", "https://127.0.0.1")


async def beside_a_board(root: Path, *command: str, power: str = "off") -> str:
    """Run a program beside a board; what it said."""
    process = await asyncio.create_subprocess_exec(
        "unshare", "--net", sys.executable, "-m", "tests.lab.alone", str(root), power, *command,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    async with asyncio.timeout(LIMIT_S):
        said, _ = await process.communicate()
    return said.decode()


NOT_TESTED = ("SERV_SSE_", "SERV_EVENT_", "SEC_PWD_CHANGE_", "SEC_SESSION_TERMINATION_SIDE_EFFECTS", "REQ_QUERY_")
"""What the board does not offer: events, accounts that have to change their password, query parameters."""


CHANCE = "WARN", "RESP_HEADERS_X_AUTH_TOKEN"
"""Two statistical tests of one session's token, each at 1 %: of fifty tokens that are random, one does not pass."""


async def test_the_protocol_validator_finds_no_fault(tmp_path: Path) -> None:
    said = await beside_a_board(
        tmp_path, str(PROGRAMS / "rf_protocol_validator"), *LOGIN,
        "--ca-bundle", "bmc.pem", "--avoid-http-redirect", "--report-type", "tsv", "--report-dir", ".",
    )  # fmt: skip
    reports = list(tmp_path.glob("*.tsv"))
    assert reports, said
    with reports[0].open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    results = Counter(row["Result"] for row in rows)
    faults = [row for row in rows if row["Result"] in ("FAIL", "WARN") and (row["Result"], row["Assertion"]) != CHANCE]
    assert faults == []
    assert results["PASS"] > 350
    left = [row["Assertion"] for row in rows if row["Result"] == "NOT_TESTED"]
    assert len([name for name in left if not name.startswith(NOT_TESTED)]) <= 6, left


CASES = "AccountManagement", "BootOverride", "ManagerEthernetInterfaces", "QueryParameters"
"""All but PowerControl, which waits ten seconds after each press, and wants a machine that is off to restart:
this board refuses that, as real ones do (HTTP 409)."""


@pytest.mark.long
async def test_the_use_case_checkers_find_no_fault(tmp_path: Path) -> None:
    said = await beside_a_board(
        tmp_path, str(PROGRAMS / "rf_use_case_checkers"), *LOGIN, "--test-list", *CASES, "--report-dir", ".",
        power="on",
    )  # fmt: skip
    table = said.partition("NOT TESTED")[2]
    numbers = [int(word) for word in table.split("|") if word.strip().isdigit()]
    assert numbers[0] >= 35, said
    assert numbers[1:3] == [0, 0], said


UTILITIES: tuple[tuple[str, str], ...] = (
    ("rf_power_reset.py LOGIN --info", "Current power state: Off"),
    ("rf_boot_override.py LOGIN --target Pxe --mode UEFI", "Setting a one time boot for Pxe"),
    ("rf_boot_override.py LOGIN --info", "Target: Pxe;"),
    ("rf_power_reset.py LOGIN --type On", "Resetting the system"),
    ("rf_accounts.py LOGIN --add second second-pass-1 Operator", "Adding new user 'second'"),
    ("rf_accounts.py LOGIN --setpassword second second-pass-2", "Changing password"),
    ("rf_accounts.py LOGIN", "second               | Operator             | False      | True"),
    ("rf_accounts.py -u second -p second-pass-2 -r https://127.0.0.1", "second"),
    ("rf_accounts.py LOGIN --delete second", "Deleting user 'second'"),
    ("rf_sys_inventory.py LOGIN -details", "SerialNumber: LAB0017-D0"),
    ("rf_sensor_list.py LOGIN", "Inlet Temp"),
    ("rf_sel.py LOGIN", "power on"),
    ("rf_sel.py LOGIN --clear", "Clearing the SEL"),
    ("rf_logs.py LOGIN --manager", "Message"),
    ("rf_power_reset.py LOGIN --info", "Current power state: On"),
    ("rf_boot_override.py LOGIN --info", "Target: None;"),
    ("rf_virtual_media.py LOGIN insert --image http://192.0.2.1/x.iso", "Inserting"),
    ("rf_virtual_media.py LOGIN info", "Image: http://192.0.2.1/x.iso"),
    ("rf_virtual_media.py LOGIN eject --id Cd", "Ejecting 'Cd'"),
    ("rf_bios_settings.py LOGIN --attribute BootMode Bios", "Setting BootMode to Bios"),
    ("rf_bios_settings.py LOGIN", "BootMode                       | Uefi                           | Bios"),
    ("rf_update.py LOGIN --image http://192.0.2.1/NIC-15.0.bin", "Completed"),
    ("rf_firmware_inventory.py LOGIN", "| 15.0"),
    ("rf_update.py LOGIN --image NIC-16.0.bin", "Completed"),
    ("rf_firmware_inventory.py LOGIN", "| 16.0"),
    ("rf_update.py LOGIN --image http://192.0.2.1/GPU-1.0.bin", "Exception"),
    ("rf_certificates.py LOGIN info", "Subject: CN=node17-bmc"),
    ("rf_manager_config.py LOGIN setnet --hostname bmc17 --nameservers 192.0.2.53", ""),
    ("rf_manager_config.py LOGIN getnet", "HostName: bmc17"),
    ("rf_manager_config.py LOGIN getprotocol", "NTP Servers:"),
    ("rf_discover.py", "https://127.0.0.1:443/redfish/v1/"),
    ("provisionctl bmc find --ssdp --interface 127.0.0.1", "00000077-0000-4000-8000-000000000017"),
)
"""What each of the redfish-utilities does, in order, and what it then says; the last is ours, by the same SSDP."""


@pytest.mark.long
async def test_the_redfish_utilities_do_what_they_say(tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "NIC-16.0.bin").write_text, "firmware")
    lines = [f"{PROGRAMS}/{line.replace('LOGIN', ' '.join(LOGIN))} || echo BAD; echo ====" for line, _ in UTILITIES]
    said = await beside_a_board(tmp_path, "sh", "-c", "\n".join(lines))
    parts = said.split("====\n")
    for (line, wanted), part in zip(UTILITIES, parts, strict=False):
        assert wanted in part, f"{line}: {part}"
        assert "BAD" not in part, f"{line}: {part}"
