"""`dhcp`: what is listed, changed, taken over and written out, against a real server without a wire."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.cli.dhcp_export import subnet_numbers
from provisioner.cli.root import run
from provisioner.clock import SteadyClock
from provisioner.errors import ConfigError
from tests.cli.conftest import Ctl, Do, Ran
from tests.dhcp.clients import ip
from tests.dhcp.v6.clients import ip as ip6
from tests.web.dhcp import Desk

A, B, C = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"


@pytest.fixture
def desk(loop: Do, tmp_path: Path) -> Iterator[Desk]:
    async def make() -> Desk:
        return await Desk(tmp_path, clock=SteadyClock()).open()

    found = loop(make())
    yield found
    loop(found.close())


@pytest.fixture
def ctl(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ctl:
    monkeypatch.setenv("PROVISIONER_SOCKET", str(desk.socket))

    def call(*args: str) -> Ran:
        capsys.readouterr()
        status = run(("dhcp", *args))
        said = capsys.readouterr()
        return Ran(status, said.out, said.err)

    return call


def dnsmasq(folder: Path, *lines: tuple[str, str], ends: float = 1000) -> str:
    file = folder / "dnsmasq.leases"
    until = round(time.time() + ends)
    file.write_text("".join(f"{until} {mac} {address} node{mac[-1]} 01:{mac}\n" for address, mac in lines))
    return str(file)


def rows_of(ran: Ran) -> list[list[str]]:
    return [line.split() for line in ran.out.splitlines()]


def test_reserve_list_and_take_back(ctl: Ctl) -> None:
    ran = ctl("reserve", A, "10.0.0.50", "--name", "one")
    assert (ran.status, ran.out.split()) == (0, ["mac", A, "address", "10.0.0.50", "name", "one"])
    assert rows_of(ctl("reservations"))[1:] == [
        [A, "10.0.0.50", "one", "api"],
        ["52:54:00:00:00:99", "10.0.0.99", "printer", "file"],
    ]
    assert [row["mac"] for row in json.loads(ctl("reservations", "-o", "json").out)] == [A, "52:54:00:00:00:99"]
    assert (ctl("unreserve", A).err, ctl("unreserve", A).status) == (f"{A}: no reservation of the API any more\n", 3)


def test_what_is_listed_for_xargs_can_be_taken_back(ctl: Ctl, tmp_path: Path) -> None:
    """Not everything has a name, and no command is told these by it."""
    assert ctl("reserve", A, "10.0.0.50", "-o", "name").out == f"{A}\n"
    assert ctl("reserve6", "fd00::17", "--mac", A, "-o", "name").out == "fd00::17\n"
    assert ctl("reservations", "-o", "name").out.splitlines() == [A, "52:54:00:00:00:99"]
    assert "fd00::17" in ctl("reservations", "-6", "-o", "name").out.splitlines()
    assert ctl("subnets", "-o", "name").out.splitlines()[0] == "10.0.0.0/24"
    ctl("import", dnsmasq(tmp_path, ("10.0.0.105", B)))
    assert ctl("leases", "-o", "name").out == "10.0.0.105\n"
    assert ctl("unreserve", ctl("reservations", "-o", "name").out.splitlines()[0]).status == 0


def test_an_address_that_is_reserved_for_another(ctl: Ctl) -> None:
    ran = ctl("reserve", A, "10.0.0.99")
    assert (ran.status, "10.0.0.99 is reserved for 52:54:00:00:00:99" in ran.err) == (4, True)


def test_an_address_that_is_leased_to_another(ctl: Ctl, tmp_path: Path) -> None:
    ctl("import", dnsmasq(tmp_path, ("10.0.0.105", B)))
    ran = ctl("reserve", A, "10.0.0.105")
    assert (ran.status, ran.err[: len(f"10.0.0.105 is leased to {B} until 2")]) == (
        0,
        f"10.0.0.105 is leased to {B} until 2",
    )
    assert ctl("reserve", A, "10.0.0.106").err == ""


def test_subnets(ctl: Ctl, tmp_path: Path, desk: Desk) -> None:
    file = tmp_path / "b.yaml"
    file.write_text("network: 10.5.0.0/24\nname: b\npools: [10.5.0.10-10.5.0.20]\n")
    assert ctl("subnet-set", str(file)).status == 0
    rows = rows_of(ctl("subnets"))
    assert rows[2] == ["10.5.0.0/24", "b", "(relays)", "authoritative", "discover", "10.5.0.10-10.5.0.20", "api"]
    desk.fallen = {"b": "10.5.0.66"}
    assert rows_of(ctl("subnets"))[2][3:6] == ["proxy", "(fallback:", "10.5.0.66)"]
    assert ctl("subnet-remove", "b").status == 0
    for name, network in {"rack:1": "10.6.0.0/24", "six": "fd06::/64"}.items():
        file.write_text(f"network: {network}\nname: '{name}'\nunknown: ignore\n")
        for meant in (name, network):
            assert ctl("subnet-set", str(file)).status == 0
            assert ctl("subnet-remove", meant).status == 0
    assert [row[1] for row in rows_of(ctl("subnets"))] == ["NAME", "rack1", "rack6"]
    for wrong in (b"[1]", b"[]", b"- network: 10.5.0.0/24\n- network: fd05::/64\n", b"name: caf\xe9\n"):
        file.write_bytes(wrong)
        assert ctl("subnet-set", str(file)).status == 1


def test_subnets_of_one_wire(ctl: Ctl, tmp_path: Path) -> None:
    file = tmp_path / "wire.yaml"
    file.write_text(
        "".join(f"- network: 10.{n}.0.0/24\n  name: n{n}\n  shared_network: w\n  mode: proxy\n" for n in (5, 6))
    )
    assert [row[:2] for row in rows_of(ctl("subnet-set", str(file)))[1:]] == [
        ["10.5.0.0/24", "n5"],
        ["10.6.0.0/24", "n6"],
    ]
    file.write_text("network: 10.5.0.0/24\nname: n5\nshared_network: w\nmode: 'off'\n")
    assert "change them together" in ctl("subnet-set", str(file)).err


def test_an_import_is_first_looked_at_then_done(ctl: Ctl, tmp_path: Path, desk: Desk) -> None:
    file = dnsmasq(tmp_path, ("10.0.0.105", A), ("10.0.0.106", B))
    ran = ctl("import", file, "--dry-run")
    assert (ran.status, ran.err) == (0, "2 new; nothing was changed (--dry-run)\n")
    assert [row[:5] for row in rows_of(ran)[1:]] == [
        ["lease", "10.0.0.105", A, f"01:{A}", "node1"],
        ["lease", "10.0.0.106", B, f"01:{B}", "node2"],
    ]
    assert desk.holders("10.0.0.105") == [None]
    ran = ctl("import", file)
    assert (ran.status, ran.err) == (0, "2 new; what is new holds from now on\n")
    assert desk.holders("10.0.0.105", "10.0.0.106") == [A, B]
    assert ctl("import", file).err == "2 same; what is new holds from now on\n"
    leases = rows_of(ctl("leases"))
    assert [row[:4] for row in leases[1:]] == [
        ["10.0.0.105", A, "node1", "active"],
        ["10.0.0.106", B, "node2", "active"],
    ]
    assert len(rows_of(ctl("leases", "--mac", A, "-o", "wide"))) == 2
    assert ctl("leases", "-6").err == "no leases\n"


def test_a_conflict_stops_everything(ctl: Ctl, tmp_path: Path, desk: Desk) -> None:
    file = dnsmasq(tmp_path, ("10.0.0.105", A), ("10.9.0.1", B))
    ran = ctl("import", file)
    assert ran.status == 4
    assert "conflict" in ran.out
    assert "it is in no subnet that is served here" in ran.out
    assert "1 new, 1 conflict; nothing was changed" in ran.err
    assert desk.holders("10.0.0.105") == [None]
    ran = ctl("import", file, "--keep-going")
    assert (ran.status, ran.err) == (0, "1 new, 1 conflict; what is new holds from now on\n")
    assert desk.holders("10.0.0.105") == [A]


def test_a_line_that_cannot_be_read_stops_everything(ctl: Ctl, tmp_path: Path, desk: Desk) -> None:
    file = Path(dnsmasq(tmp_path, ("10.0.0.105", A)))
    file.write_text(file.read_text() + "oops\n")
    ran = ctl("import", str(file))
    assert (ran.status, desk.holders("10.0.0.105")) == (1, [None])
    assert f"1 lines cannot be read: {file}:2: 1 fields instead of 5" in ran.err
    ran = ctl("import", str(file), "--keep-going")
    assert (ran.status, desk.holders("10.0.0.105")) == (0, [A])
    assert "unreadable" in ran.out


def test_leases_that_are_over_are_counted_and_shown_when_asked_for(ctl: Ctl, tmp_path: Path) -> None:
    file = dnsmasq(tmp_path, ("10.0.0.105", A), ends=-5)
    ran = ctl("import", file)
    assert (ran.out, ran.err) == ("", "nothing to take over in these files\n1 over; what is new holds from now on\n")
    assert "expired" in ctl("import", file, "--expired").out
    csv = tmp_path / "kea-leases4.csv"
    csv.write_text(
        "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n"
        f"10.0.0.105,,,86400,{round(time.time()) + 999},1,0,0,,1,\n"
    )
    assert "it was declined" in ctl("import", str(csv), "--expired").out


def test_reservations_and_leases_of_several_files(ctl: Ctl, tmp_path: Path, desk: Desk) -> None:
    conf = tmp_path / "dhcpd.conf"
    conf.write_text(
        f'subnet 10.0.0.0 netmask 255.255.255.0 {{ range 10.0.0.100 10.0.0.105; include "x"; }}\n'
        f'host c {{ hardware ethernet {C}; fixed-address 10.0.0.60; option host-name "sea"; '
        'option routers 10.0.0.7; filename "x"; }\n'
    )
    ran = ctl("import", str(conf), dnsmasq(tmp_path, ("10.0.0.105", A)), "-o", "json")
    assert [(row["kind"], row["address"], row["what"]) for row in json.loads(ran.out)] == [
        ("reservation", "10.0.0.60", "new"),
        ("lease", "10.0.0.105", "new"),
        ("range", "10.0.0.100", "same"),
    ]
    assert "includes 'x': import that file, too" in ran.err
    assert f"{conf}:2: host c: `filename x` is left out" in ran.err
    row = json.loads(ctl("reservations", "-o", "json").out)[0]
    assert (row["name"], row["options"]) == ("sea", {"routers": "10.0.0.7"})


def test_what_keas_clean_up_left_is_read_first(ctl: Ctl, tmp_path: Path, desk: Desk) -> None:
    header = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n"
    until = round(time.time()) + 999

    def write(name: str, *rows: tuple[str, str, int]) -> Path:
        file = tmp_path / name
        lines = (f"{address},{mac},,{valid},{until},1,0,0,,0,\n" for address, mac, valid in rows)
        file.write_text(header + "".join(lines))
        return file

    write("kea-leases4.csv.2", ("10.0.0.101", A, 60), ("10.0.0.102", B, 60), ("10.0.0.103", C, 60))
    write("kea-leases4.csv.completed", ("10.0.0.101", B, 60), ("10.0.0.104", "52:54:00:00:00:04", 60))
    main = write("kea-leases4.csv", ("10.0.0.103", C, 0), ("10.0.0.102", "52:54:00:00:00:05", 60))
    ran = ctl("import", str(main))
    assert ran.err.count("left by Kea's clean-up, read first") == 2
    assert desk.holders(*(f"10.0.0.10{n}" for n in range(1, 5))) == [
        A,
        "52:54:00:00:00:05",
        None,
        "52:54:00:00:00:04",
    ]


def test_an_export_comes_back_as_it_went(ctl: Ctl, tmp_path: Path, desk: Desk, loop: Do) -> None:
    ctl("import", dnsmasq(tmp_path, ("10.0.0.105", A), ("10.0.0.106", B)))

    async def decline() -> None:
        now = desk.server.now()
        await desk.book._leases.save(desk.server.site.decline(ip("10.0.0.109"), now, "odd"))

    loop(decline())
    csv = tmp_path / "out.csv"
    assert ctl("export", str(csv), "--subnet-id", "10.0.0.0/24=7").err == "3 leases\n"
    lines = csv.read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["10.0.0.105", "10.0.0.106", "10.0.0.109"]
    assert lines[1].split(",")[1:3] == [A, f"01:{A}"]
    assert {line.split(",")[5] for line in lines[1:]} == {"7"}
    assert ctl("export").out == csv.read_text().replace(",7,", ",1,")
    assert ctl("import", str(csv), "--keep-going").err.startswith("2 same, 1 over")


NUMBERS = [{"network": "10.0.0.0/24", "name": "a"}, {"network": "10.1.0.0/24", "name": ""}]
NUMBERED = {
    "in their order": ((), {"a": 1, "10.1.0.0/24": 2}),
    "as said": (("10.1.0.0/24=1",), {"a": 2, "10.1.0.0/24": 1}),
    "far apart": (("10.0.0.0/24=900",), {"a": 900, "10.1.0.0/24": 1}),
}


@pytest.mark.parametrize(("given", "numbers"), NUMBERED.values(), ids=NUMBERED.keys())
def test_subnets_have_numbers(given: tuple[str, ...], numbers: dict[str, int]) -> None:
    assert subnet_numbers(NUMBERS, given) == numbers


@pytest.mark.parametrize(
    "given",
    [("10.9.0.0/24=1",), ("10.0.0.0/24",), ("10.0.0.0/24=0",), ("10.0.0.0/24=5", "10.1.0.0/24=5"), ("x=1",)],
)
def test_numbers_that_are_none(given: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="--subnet-id"):
        subnet_numbers(NUMBERS, given)


def test_a_declined_address_is_freed(ctl: Ctl, desk: Desk, loop: Do) -> None:
    async def decline() -> None:
        await desk.book._leases.save(
            desk.server.site.decline(ip("10.0.0.109"), desk.server.now(), "the printer uses it")
        )

    loop(decline())
    shown = ctl("leases", "--state", "declined").out
    assert "the printer uses it" in shown
    assert ctl("free", "10.0.0.109").err == "10.0.0.109 may be given again\n"
    assert ctl("free", "10.0.0.109").status == 3


def test_a_format_that_is_none(ctl: Ctl, tmp_path: Path) -> None:
    assert (
        "--format 'odd': none of isc-conf" in ctl("import", dnsmasq(tmp_path, ("10.0.0.105", A)), "--format", "odd").err
    )


def test_a_fixed_address_in_each_of_two_subnets(ctl: Ctl, desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "b.yaml"
    file.write_text("network: 10.5.0.0/24\nname: b\npools: [10.5.0.10-10.5.0.20]\n")
    ctl("subnet-set", str(file))
    assert "10.0.0.20, 10.5.0.9" in ctl("reserve", A, "10.0.0.20", "10.5.0.9").out
    assert "10.0.0.20, 10.5.0.9" in ctl("reservations").out
    assert [pool.is_fixed(ip("10.5.0.9")) for pool in desk.server.site.pools()] == [False, False, True, False]
    ran = ctl("reserve", A, "10.0.0.20", "10.0.0.21")
    assert (ran.status, "are both in rack1" in ran.err) == (1, True)
    assert ctl("reserve", B, "10.5.0.9").status == 4


def test_ipv6_addresses_and_subnets(ctl: Ctl, tmp_path: Path) -> None:
    assert "fd00::17" in ctl("reserve6", "fd00::17", "--mac", A, "--name", "node17").out
    rows = json.loads(ctl("reservations", "-6", "-o", "json").out)
    assert [(row["address"], row["origin"]) for row in rows] == [("fd00::17", "api"), ("fd00::99", "file")]
    assert ctl("unreserve6", "fd00::17").status == 0
    file = tmp_path / "subnet.yaml"
    file.write_text('network: "fd05::/64"\nname: east\npools: ["fd05::10-fd05::20"]\n')
    assert "fd05::/64" in ctl("subnet-set", str(file)).out
    networks = [row["network"] for row in json.loads(ctl("subnets", "-o", "json").out)]
    assert networks == ["10.0.0.0/24", "fd00::/64", "fd05::/64"]
    assert ctl("subnet-remove", "-6", "east").status == 0


def test_https_is_asked_for_where_it_is_served_only(ctl: Ctl, desk: Desk) -> None:
    ran = ctl("reserve", A, "--https", "firmware")
    assert ran.status == 1
    assert f"reservation {A}: https: firmware: nothing is served by HTTPS: set http.tls_port" in ran.err
    assert "nothing is served by HTTPS" in ctl("reserve6", "fd00::17", "--mac", A, "--https", "firmware").err
    desk.server.site.tls_port = 8443
    assert "firmware" in ctl("reserve", A, "--https", "firmware").out
    assert json.loads(ctl("reservations", "-o", "json").out)[0]["https"] == "firmware"
    assert "HTTPS" in ctl("reservations", "-o", "wide").out


DUID = "00:03:00:01:52:54:00:00:00:01"


def test_both_families_of_one_file_are_taken_over_and_written_out_again(
    ctl: Ctl, tmp_path: Path, desk: Desk, loop: Do
) -> None:
    file, until = Path(dnsmasq(tmp_path, ("10.0.0.105", A))), round(time.time() + 1000)
    file.write_text(f"{file.read_text()}duid 00:01:00\n{until} 7 fd00::105 node1 {DUID}\n")
    conf = tmp_path / "dnsmasq.conf"
    conf.write_text(f"dhcp-host={B},[fd00::50],node2\ndhcp-range=fd00::100,fd00::109,64,1h\n")
    rows = json.loads(ctl("import", str(file), str(conf), "-o", "json").out)
    assert [(row["kind"], row["address"], row["mac"], row["duid"], row["what"]) for row in rows] == [
        ("reservation", "fd00::50", B, "", "new"),
        ("lease", "10.0.0.105", A, "", "new"),
        ("lease", "fd00::105", "", DUID, "new"),
        ("range", "fd00::100", "", "", "same"),
    ]
    (lease,) = json.loads(ctl("leases", "-6", "-o", "json").out)
    assert (lease["address"], lease["name"], lease["client_id"]) == ("fd00::105", "node1", f"ff:00:00:00:07:{DUID}")

    async def decline() -> None:
        now, net = desk.server6.now(), next(iter(desk.server6.site.topology))
        await desk.leases6.save([net.pool.decline(ip6("fd00::109"), now, 600, "odd")])

    loop(decline())
    csv = tmp_path / "out.csv"
    assert ctl("export", "-6", str(csv), "--subnet-id", "fd00::/64=7").err == "2 leases\n"
    written = [line.split(",") for line in csv.read_text().splitlines()[1:]]
    assert [(row[0], row[1], row[4], row[7], row[13]) for row in written] == [
        ("fd00::105", DUID, "7", "7", "0"),
        ("fd00::109", "00:00:00", "7", "0", "1"),
    ]
    assert ctl("import", str(csv)).err.startswith("1 same, 1 over")
    csv.with_name("out.csv.2").write_text(csv.read_text().replace("fd00::105", "fd00::106"))
    assert "out.csv.2: left by Kea's clean-up, read first" in ctl("import", str(csv), "--dry-run").err
