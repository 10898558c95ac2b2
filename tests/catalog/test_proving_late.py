"""What a new system is told at the end of its installation: hooks, accounts, network, what it reports with."""

from __future__ import annotations

import html
import json
import re
import subprocess
from pathlib import Path

import pytest

from provisioner import yamlfile
from provisioner.boot.tickets import REFETCH_S
from provisioner.catalog.fleet import CERTIFICATE
from tests.catalog.test_proving_families import files

LATE = {
    "the last of three": (("true\n", "true\n", "exit 7\n"), '"hook": "1003-late", "status": 7'),
    "a command of the first": (("false\ntouch $SEEN\n", "touch $SEEN\n"), '"hook": "1001-late", "status": 1'),
    "none": (("true\n",), ""),
}
INSTALLERS = ("rocky-9", "ubuntu-24.04", "debian-12-installer", "proxmox-8", "sles-15", "opensuse-leap-16.0")


@pytest.mark.parametrize(("hooks", "told"), LATE.values(), ids=LATE.keys())
@pytest.mark.parametrize("name", INSTALLERS)
def test_a_late_hook_that_fails_is_told_from_the_installer(
    name: str, hooks: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    late = files(name, hooks__late=list(hooks))["late.sh"]
    begin, end = late.index("# post URL JSON"), late.index("# Inside the system")
    put = re.search(r"(?ms)^put\(\) \{.*?^\}\n", late)
    assert put is not None
    runs = late[late.index("# hooks.late, number 1") : late.index("# A unit that tells the provisioner")]
    script = late[begin:end] + "set -eu\n" + put[0] + runs + "echo reports\n"
    curl = tmp_path / "curl"
    curl.write_text('#!/bin/sh\necho "$@" >>"$TOLD"\n')
    curl.chmod(0o755)
    ran = subprocess.run(
        ["sh", "-c", script.replace("/root/", f"{tmp_path}/")],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "TOLD": str(tmp_path / "told"), "SEEN": str(tmp_path / "seen")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = (tmp_path / "told").read_text() if (tmp_path / "told").exists() else ""
    assert not (tmp_path / "seen").exists()
    assert (told in said, "hook-failed" in said, ran.stdout) == (True, bool(told), "" if told else "reports\n"), ran


FETCHED = {
    "it cannot be fetched": (22, "", '{"hook": "late.sh", "status": 22, "output": ""}'),
    "it fails, and says so itself": (0, "exit 3", ""),
    "it does what it should": (0, "echo done", ""),
}


@pytest.mark.parametrize(("status", "late", "told"), FETCHED.values(), ids=FETCHED.keys())
@pytest.mark.parametrize("name", ["sles-15", "opensuse-leap-16.0"])
def test_an_installer_that_goes_on_tells_that_it_has_no_late_script(
    name: str, status: int, late: str, told: str, tmp_path: Path
) -> None:
    given = files(name)
    if "agama.json" in given:
        script = json.loads(given["agama.json"])["scripts"]["post"][0]["content"]
    else:
        text = re.search(r"(?s)<source>(.*)</source>", given["autoyast.xml"])
        assert text is not None
        script = html.unescape(text[1])
    curl = tmp_path / "curl"
    curl.write_text(
        """#!/bin/sh
case "$*" in
    *hook-failed*) while [ "$1" != --data ]; do shift; done; echo "$2" >>"$TOLD" ;;
    *) printf '%s\\n' "$LATE" >"$AT/provisioner-late"; exit "$STATUS" ;;
esac
"""
    )
    curl.chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "AT": str(tmp_path), "TOLD": str(tmp_path / "told")}
    ran = subprocess.run(
        ["sh", "-c", script.replace("/root/", f"{tmp_path}/")],
        env=env | {"LATE": late, "STATUS": str(status)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = (tmp_path / "told").read_text().strip() if (tmp_path / "told").exists() else ""
    assert (said, ran.returncode) == (told, {"exit 3": 3}.get(late, status)), ran


def test_a_daemon_that_is_restarted_is_waited_for() -> None:
    for name in ("rocky-9", "ubuntu-24.04", "sles-15", "opensuse-leap-16.0"):
        text = "\n".join(files(name).values())
        fetch = re.search(r"curl [^\n]*?answers/TICKET/late\.sh", text)
        assert fetch is not None
        words = fetch[0].split()
        assert {"--retry-connrefused", "--retry-all-errors"} <= set(words), name
        try_s, pause_s = (float(words[words.index(word) + 1]) for word in ("-m", "--retry-delay"))
        assert try_s + pause_s <= REFETCH_S / 2, f"{name}: it is given once more until then"


WAITED = {
    "a port alone": ("uefi-small", 1),
    "two ports": ("uefi-ports", 1),
    "a bond, its ports and a VLAN": ("uefi-bond-vlan", 1),
}


@pytest.mark.parametrize(("kind", "waited"), WAITED.values(), ids=WAITED.keys())
def test_a_start_waits_for_one_link_only(kind: str, waited: int) -> None:
    networkd = files("debian-12-packages", kind)["job.sh"].split("\n[Match]\n")[1:]
    assert sum("\nRequiredForOnline=no\n" not in link for link in networkd if "[Network]" in link) == waited
    netplan = yamlfile.load(files("ubuntu-24.04", kind)["user-data"], "user-data").value["autoinstall"]["network"]
    links = [link for kind in ("ethernets", "bonds", "vlans") for link in netplan.get(kind, {}).values()]
    assert sum("optional" not in link for link in links) == waited


GRUB = {
    "a serial console": (["tty0", "ttyS1,57600"], 'GRUB_SERIAL_COMMAND="serial --unit=1 --speed=57600"'),
    "none": (["tty0"], 'GRUB_TERMINAL="console"'),
}


@pytest.mark.parametrize(("consoles", "said"), GRUB.values(), ids=GRUB.keys())
def test_grub_of_a_package_install_is_on_the_ports_of_the_kernel(consoles: list[str], said: str) -> None:
    lines = files("debian-12-packages", kernel__consoles=consoles)["job.sh"].splitlines()
    assert said in lines
    assert ('GRUB_TERMINAL="console serial"' in lines) is any(line.startswith("GRUB_SERIAL") for line in lines)


ACCOUNTS = {
    "a name that nobody has": ("", "", "useradd -m -c Ann O. -s /bin/bash ann\n", 0),
    "one that a group has": ("", "x", "useradd -m -c Ann O. -s /bin/bash -g ann ann\n", 0),
    "an account from before": ("1000", "x", "", 0),
    "a system's own": ("34", "x", "", 1),
}


@pytest.mark.parametrize(("uid", "group", "made", "status"), ACCOUNTS.values(), ids=ACCOUNTS.keys())
def test_an_account_is_made_and_none_of_the_systems_own_is_taken(uid: str, group: str, made: str, status: int) -> None:
    late = files("rocky-9", users__accounts=[{"name": "ann"}])["late.sh"]
    function = re.search(r"(?ms)^account\(\) \{.*?^\}\n", late)
    assert function is not None
    stubs = (
        'id() { [ -n "$UID_" ] && echo "$UID_"; }; getent() { [ -n "$GROUP" ]; }; useradd() { echo "useradd $*"; }\n'
    )
    ran = subprocess.run(
        ["sh", "-c", f"set -eu\n{stubs}{function[0]}account ann 'Ann O.' /bin/bash"],
        env={"UID_": uid, "GROUP": group}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.stdout, ran.returncode, "of its own" in ran.stderr) == (made, status, status != 0)


def test_certificates_bring_what_takes_them_or_are_told() -> None:
    given = {"certificates__trusted": [CERTIFICATE], "bootstrap__base": []}
    job = files("debian-12-packages", **given)["job.sh"]
    asked = re.search(r"--include=(\S+)", job)
    assert asked is not None
    assert "ca-certificates" in asked[1].split(",")
    part = re.sub(r"^(for anchors in) .*;", r"\1 /nowhere;", job[job.index("for anchors in ") :].partition("\nfi\n")[0])
    ran = subprocess.run(
        ["/bin/sh", "-eu", "-c", f"{part}\nfi"], env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, "certificates.trusted: this system has no place" in ran.stderr) == (1, True)


CLOCK = {
    "a machine with a clock": ("hwclock() { echo hwclock $*; }", "hwclock -u -w\n"),
    "one without": ("hwclock() { return 1; }", "the machine has no clock"),
}


@pytest.mark.parametrize(("stub", "said"), CLOCK.values(), ids=CLOCK.keys())
@pytest.mark.parametrize("name", ["debian-12", "debian-12-packages"])
def test_a_new_system_starts_by_a_clock_that_was_set(name: str, stub: str, said: str) -> None:
    job = files(name)["job.sh"]
    end = job[job.index("# the new system starts by") : job.index("\nstep done")]
    ran = subprocess.run(
        ["busybox", "sh", "-euo", "pipefail", "-c", f"{stub}\n{end}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.startswith(said)


def test_the_network_of_an_images_system_is_what_is_said_of_it_alone(tmp_path: Path) -> None:
    own = ("etc/systemd/network/90-dhcp.network", "etc/netplan/90-default.yaml")
    for name in (*own, "etc/netplan/README"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    line = next(
        line for line in files("debian-12")["job.sh"].splitlines() if line.startswith("rm -f") and own[0] in line
    )
    for run in ("once", "again"):
        subprocess.run(["sh", "-eu", "-c", line.replace("/etc/", f"{tmp_path}/etc/")], check=True)
        assert [path.name for path in sorted(tmp_path.rglob("*")) if path.is_file()] == ["README"], run


@pytest.mark.parametrize("folder", ["usr/lib/systemd/system", "lib/systemd/system", ""])
def test_networkd_is_started_where_netplan_alone_did(tmp_path: Path, folder: str) -> None:
    """As in Debian's own images for clouds."""
    if folder:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "systemd-networkd.service").touch()
    (line,) = (line for line in files("debian-12")["job.sh"].splitlines() if "enable systemd-networkd" in line)
    line = re.sub(r" /((usr/)?lib/systemd)", rf" {tmp_path}/\1", line)
    ran = subprocess.run(["sh", "-euc", f"systemctl() {{ echo $*; }}; {line}"], capture_output=True, check=True)
    assert ran.stdout == (b"--quiet enable systemd-networkd\n" if folder else b"")


MARKED = {
    "an EFI partition": (["type=21686148-6449-6E6F-744E-656564454649", "type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B"], 2),
    "two of them": (["type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B"] * 2, 1),
    "none": (["type=21686148-6449-6E6F-744E-656564454649"], 0),
}


@pytest.mark.parametrize(("parts", "number"), MARKED.values(), ids=MARKED.keys())
def test_the_efi_partition_of_an_image_is_marked(parts: list[str], number: int, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    table = "\n".join(["label: gpt", *(f"size=4MiB, {part}" for part in parts), ""])
    subprocess.run(["sfdisk", "--quiet", disk], input=table, text=True, check=True)
    job = files("debian-12")["job.sh"]
    marks = job[job.index("esp=$(") : job.index('\nsettle "$disk"')]
    ran = subprocess.run(
        ["busybox", "sh", "-euo", "pipefail", "-c", f"mount() {{ echo $*; }}; umount() {{ :; }}\n{marks}"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "disk": str(disk), "work": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout == (f"-t vfat {disk}{number} {tmp_path}/esp\n" if number else "")
    marked = [path.name for path in tmp_path.glob("esp/EFI/provisioner/*")]
    assert len(marked) == bool(number)
    assert all(name.endswith(".debian-12") for name in marked)


UNMARKED = {"cannot be mounted": "mount() { return 32; }", "takes no mark": "mount() { touch $work/esp/EFI; }"}


@pytest.mark.parametrize(("said", "stub"), UNMARKED.items(), ids=UNMARKED.keys())
def test_an_installation_does_not_fail_for_its_mark(said: str, stub: str, tmp_path: Path) -> None:
    job = files("debian-12")["job.sh"]
    marks = job[job.index('if [ -n "$esp" ]') : job.index('\nsettle "$disk"')]
    ran = subprocess.run(
        ["busybox", "sh", "-euo", "pipefail", "-c", f"{stub}; umount() {{ :; }}\n{marks}"],
        env={"PATH": "/usr/bin:/bin", "esp": "/dev/vda1", "work": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.startswith(f"the EFI partition {said}")


def test_any_image_is_given_what_it_reports_with() -> None:
    job = files("debian-12", hooks__first_boot=["echo hello\n"])["job.sh"]
    settings = job[
        job.index("put 700 root/provisioner-settings") : job.index("in_root 'sh /root/provisioner-settings'")
    ]
    for wanted in (
        "put /etc/provisioner/first-boot.d/1001 700",
        "| put /etc/provisioner/authorization 600",
        "put /etc/provisioner/phone-home 755",
        "put /etc/systemd/system/provisioner-phone-home.service 644",
        "multi-user.target.wants/provisioner-phone-home.service",
    ):
        assert wanted in settings
