"""`explain` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap, wrpcap

from tests.cli.conftest import Ctl

CAPTURES = Path(__file__).parent.parent / "dhcp" / "captures"


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Take no configuration of this machine."""
    from provisioner import config

    monkeypatch.setattr(config, "DEFAULT_PATH", tmp_path / "none.yaml")


def test_without_a_configuration_an_example_is_taken_and_said(ctl: Ctl) -> None:
    ran = ctl("explain", "--arch", "7")
    assert ran.err == "no configuration: taking 192.0.2.0/24 on eth0 as an example (--config FILE)\n"
    assert ran.out.splitlines()[:2] == [
        "DISCOVER from 52:54:00:12:34:56 on eth0",
        "  read as      pxe, architecture 0x0007 (efi-x64)",
    ]


def test_the_configuration_is_asked(ctl: Ctl, tmp_path: Path) -> None:
    path = tmp_path / "provisioner.yaml"
    subnet = "{network: 10.0.8.0/24, interface: eth1, pools: [10.0.8.50-10.0.8.99], loader: {efi-x64: mine.efi}}"
    path.write_text(f"dhcp:\n  subnets:\n    - {subnet}\nhttp:\n  port: 8181\n")
    said = json.loads(ctl("explain", "--config", str(path), "--arch", "7", "-o", "json").out)[0]
    assert (said["asked"], said["file"]) == ("DISCOVER from 52:54:00:12:34:56 on eth1", "mine.efi")
    said = json.loads(ctl("explain", "--config", str(path), "--user-class", "iPXE", "-o", "json").out)[0]
    assert said["file"] == "http://10.0.8.1:8181/boot/52:54:00:12:34:56/script.ipxe"


@pytest.mark.parametrize("family", [[], ["-6"]], ids=["IPv4", "IPv6"])
def test_firmware_with_secure_boot(ctl: Ctl, family: list[str]) -> None:
    given = ("--arch", "efi-x64-http", "--class", "HTTPClient", "--secure-boot", "-o", "json")
    said = json.loads(ctl("explain", *family, *given).out)[0]
    assert said["plan"].startswith("load cdx64.iso: ")
    assert said["options"].count(":8080/boot/cdx64.iso") == 1


def test_a_capture_is_explained_request_by_request(ctl: Ctl) -> None:
    ran = ctl("explain", "--pcap", str(CAPTURES / "ovmf-http4.pcap"), "-q", "-o", "json")
    over_ipv4 = [one for one in json.loads(ran.out) if "2001:db8" not in one["answer"]]
    said = [one for one in over_ipv4 if one["asked"].split()[0] in ("DISCOVER", "REQUEST")]
    assert [one["read as"].split(",")[0] for one in said] == ["pxe"] * 4 + ["http"] * 2 + ["ipxe"] * 2
    assert said[4]["options"].splitlines()[-2] == "67 boot-file: http://192.0.2.1:8080/files/snponly.efi"


@pytest.mark.parametrize("form", [[], ["-o", "json"]], ids=["words", "JSON"])
def test_a_capture_that_is_still_written_is_explained_so_far(ctl: Ctl, tmp_path: Path, form: list[str]) -> None:
    whole = CAPTURES / "ovmf-http4.pcap"
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(whole.read_bytes()[:-1])
    ran, all_of_it = (ctl("explain", "--pcap", str(path), "-q", *form) for path in (cut, whole))
    assert ran.status == 1
    assert ran.out.startswith(all_of_it.out[:2000])
    assert ran.err.startswith(f"provisionctl: --pcap {cut}: after ")
    assert "a frame of" in ran.err


def test_a_capture_that_has_only_the_beginning_of_packets_says_so(ctl: Ctl, tmp_path: Path) -> None:
    packets = [packet for packet in rdpcap(str(CAPTURES / "ovmf-http4.pcap")) if len(packet) > 300]
    short = Ether(bytes(packets[0])[:96])
    short.wirelen = len(packets[0])
    wrpcap(str(tmp_path / "short.pcap"), short)
    ran = ctl("explain", "-q", "--pcap", str(tmp_path / "short.pcap"))
    assert f"none: the capture has only 96 of its {len(packets[0])} bytes" in ran.out
    assert "malformed" not in ran.out


@pytest.mark.parametrize("name", ["/dev/zero", "file"])
def test_no_more_of_a_capture_is_read_than_may_be(
    ctl: Ctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("provisioner.cli.explain.MAX_CAPTURE", 1 << 20)
    (tmp_path / "file").write_bytes(bytes((1 << 20) + 1))
    ran = ctl("explain", "-q", "--pcap", str(tmp_path / name))
    assert ran.err.startswith(f"provisionctl: --pcap {tmp_path / name}: more than 1 MiB")


FAULTS = {
    "an architecture": (
        2,
        ["--arch", "vax"],
        "provisionctl explain: --arch 'vax': not a number of option 93 and not a name",
    ),
    "Secure Boot of a BIOS": (
        2,
        ["--secure-boot", "--arch", "0"],
        "provisionctl explain: --secure-boot: a BIOS (--arch 0) knows no signatures",
    ),
    "a MAC": (2, ["--mac", "zz"], "provisionctl explain: --mac: not a MAC address: 'zz'; write six octets, such as"),
    "a relay": (2, ["--relay", "10.0.0"], "provisionctl explain: --relay '10.0.0': not an IPv4 address"),
    "a UUID": (2, ["--uuid", "17"], "provisionctl explain: --uuid '17': not a UUID"),
    "a capture": (1, ["--pcap", "/dev/null"], "provisionctl: --pcap /dev/null: neither pcap nor pcapng"),
    "a file": (1, ["--pcap", "/nonexistent"], "provisionctl: --pcap /nonexistent: No such file or directory"),
}


@pytest.mark.parametrize(("status", "args", "says"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_are_one_line(ctl: Ctl, status: int, args: list[str], says: str) -> None:
    ran = ctl("explain", "-q", *args)
    assert (ran.status, ran.out, ran.err.count("\n")) == (status, "", 1)
    assert ran.err.startswith(says)


def test_ipv6_is_explained_too(ctl: Ctl) -> None:
    ran = ctl("explain", "-6", "--arch", "7")
    assert ran.err == "no configuration: taking 2001:db8::/64 on eth0 as an example (--config FILE)\n"
    assert ran.out.splitlines()[0] == "SOLICIT from 52:54:00:12:34:56 on eth0"
    assert "tftp://[2001:db8::1]/snponly.efi" in ran.out
    assert ctl("explain", "-6", "-q", "--relay", "10.0.0.1").err.startswith(
        "provisionctl explain: --relay '10.0.0.1': not an IPv6"
    )


def test_a_capture_of_ipv6_is_explained_request_by_request(ctl: Ctl) -> None:
    captures = CAPTURES.parent / "v6" / "captures"
    said = json.loads(ctl("explain", "--pcap", str(captures / "ovmf-pxe6.pcap"), "-q", "-o", "json").out)
    over_ipv6 = [one for one in said if one["asked"].split()[0] in ("SOLICIT", "REQUEST") and " fd" not in one["asked"]]
    assert [one["file"] for one in over_ipv6 if "//[" in one.get("file", "")][:2] == [
        "tftp://[2001:db8::1]/snponly.efi",
        "http://[2001:db8::1]:8080/boot/52:54:00:77:00:01/script.ipxe",
    ]
