"""The configuration file: every key documented, everything wrong reported at once, with its line."""

from __future__ import annotations

import tempfile
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from provisioner import config
from provisioner.config import Config, default_path, load, subnet_at, subnet_of, with_interfaces
from provisioner.errors import ConfigError, ListenError
from provisioner.settings import example
from tests.cli.test_client import as_nobody

EXAMPLE = Path(__file__).parent.parent / "docs" / "provisioner.yaml"


def write(folder: Path, text: str) -> Path:
    path = folder / "provisioner.yaml"
    path.write_text(text)
    return path


def test_the_example_lists_every_key_and_says_nothing_new() -> None:
    assert EXAMPLE.read_text() == example(Config), "regenerate it: provisionerd --example-config"
    assert load(EXAMPLE) == Config()


def test_a_file_is_read_into_types(tmp_path: Path) -> None:
    config = load(
        write(
            tmp_path,
            """
store: {state_dir: /srv/state}
dhcp:
  subnets:
    - network: 10.0.8.0/24
      interface: eth1
      pools: [10.0.8.100-10.0.8.200]
      unknown: quarantine
      quarantine_pools: [10.0.8.210-10.0.8.220]
      server_address: 10.0.8.1
      options: {66: ["x"], 67: y}
""".replace('["x"]', '"x"'),
        )
    )
    (subnet,) = config.dhcp.subnets
    assert (subnet.network, subnet.unknown, subnet.options) == ("10.0.8.0/24", "quarantine", {"66": "x", "67": "y"})
    assert config.key_file == Path("/srv/state/secrets.key")


BAD = {
    "an unknown key, with the nearest one": (
        "htpp: {}\n", "provisioner.yaml:1: htpp: unknown key, did you mean 'http'?"),
    "an unknown key deep inside": (
        "dhcp:\n  subnets:\n    - netwrok: 10.0.0.0/24\n",
        ":3: dhcp.subnets.0.netwrok: unknown key, did you mean 'network'?"),
    "a word that is none of the choices": (
        "dhcp:\n  subnets:\n    - network: 10.0.0.0/24\n      mode: proxxy\n",
        ":4: dhcp.subnets.0.mode: 'proxxy' is not known"),
    "a text where a number is wanted": ("http:\n  port: eighty\n", ":2: http.port: a whole number is wanted"),
    "a number where text is wanted": (
        "api:\n  group: 12\n",
        ":2: api.group: text is wanted, not the number 12: quote it"),
    "a list where a mapping is wanted": ("tftp: [1]\n", "tftp: a mapping is wanted"),
    "a log level": ("log:\n  level: loud\n", ":2: log.level: 'loud' is none of debug, info, warning, error"),
    "a port that no socket has": (
        "tftp:\n  port: 70000\n", "provisioner.yaml:2: tftp.port: 70000: from 1 to 65535"),
    "a port that every socket has": ("http:\n  port: 0\n", ":2: http.port: 0: from 1 to 65535"),
    "a port below all": ("http:\n  port: -1\n", ":2: http.port: -1: 0 or more"),
    "a port of HTTPS": ("http:\n  tls_port: 99999\n", ":2: http.tls_port: 99999: from 0 to 65535"),
    "a port for two things": (
        "http:\n  port: 8443\n  tls_port: 8443\n", ":3: http.tls_port: 8443: http.port is the same"),
    "a name for an address": (
        "tftp:\n  addresses: [foo]\n", ":2: tftp.addresses.0: 'foo' is no IP address, such as 10.0.8.1"),
    "an address that is none": (
        "http:\n  addresses:\n    - 127.0.0.1\n    - 127.0.0.300\n",
        ":4: http.addresses.1: '127.0.0.300' is no IP address"),
    "an address twice": ("http:\n  addresses: ['::1', '0::1']\n", ":2: http.addresses: ::1: given twice"),
    "an address that is all of them": (
        "tftp:\n  addresses: [0.0.0.0, 10.0.0.1]\n", ":2: tftp.addresses: 0.0.0.0 is every address"),
    "a socket of no name": ("api:\n  socket: ''\n", ":2: api.socket: empty"),
    "a socket of a name that is too long": (
        f"api:\n  socket: /{'x' * 98}\n", ":2: api.socket: 99 octets: a socket's path has at most 98"),
    "a socket that moves with whoever starts the daemon": (
        "api:\n  socket: api.sock\n", ":2: api.socket: 'api.sock' does not begin at the root: write /..."),
    "a state directory that does": (
        "store:\n  state_dir: ./state\n", ":2: store.state_dir: './state' does not begin at the root"),
    "a key that does": ("store:\n  key_file: '~/key'\n", ":2: store.key_file: '~/key' does not begin at the root"),
    "the key of DNS updates that does": ("dns:\n  key_file: key\n", ":2: dns.key_file: 'key' does not begin at the"),
    "a directory of bootenvs that does": (
        "catalogue:\n  paths: [/a, b]\n", ":2: catalogue.paths.1: 'b' does not begin at the root"),
    "a directory of loaders that does": ("catalogue: {loaders: [b]}\n", ":1: catalogue.loaders.0: 'b' does not begin"),
    "a directory of keyrings that does": ("catalogue: {keyrings: [b]}\n", ":1: catalogue.keyrings.0: 'b' does not"),
    "a directory of secrets that does": (
        "catalogue: {secrets_dir: secrets}\n", ":1: catalogue.secrets_dir: 'secrets' does not begin at the root"),
    "a Vault's token that does": (
        "catalogue: {vault_token_file: t}\n", ":1: catalogue.vault_token_file: 't' does not begin at the root"),
    "a webhook's secret that does": (
        "webhooks:\n  x: {url: 'https://a', secret_file: s}\n", ":2: webhooks.x.secret_file: 's' does not begin at"),
    "a state directory of no name": ("store:\n  state_dir: ''\n", ":2: store.state_dir: empty"),
    "a mirror by another protocol": (
        "mirror:\n  upstreams:\n    a: http://x\n    b: ftp://x\n",
        ":4: mirror.upstreams.b: 'ftp://x' is not https://HOST or http://HOST"),
    "a mirror whose name no URL of ours has": (
        "mirror:\n  upstreams: {b/../c: 'http://x'}\n", ":2: mirror.upstreams.b/../c: 'b/../c': a name of lower-case"),
    "a webhook to nowhere": (
        "webhooks:\n  x: {url: '', secret_file: /nope}\n",
        ":2: webhooks.x.url: '' is not https://HOST or http://HOST"),
    "a webhook with a dot too many": (
        "webhooks:\n  x: {url: 'https://pager..example/hook', secret_file: /nope}\n",
        ":2: webhooks.x.url: 'https://pager..example/hook' is not https://HOST or http://HOST"),
    "a webhook with a label too long": (
        "webhooks:\n  x: {url: 'https://%s.example', secret_file: /nope}\n" % ("x" * 64),
        f":2: webhooks.x.url: 'https://{'x' * 64}.example' is not https://HOST"),
    "a webhook without a secret": ("webhooks:\n  x:\n    url: https://a\n", "webhooks.x.secret_file: empty"),
    "webhooks without names": (
        "webhooks:\n  - {url: 'https://a'}\n", ":1: webhooks: a mapping is wanted, not a list: give each a name"),
    "a webhook that is none": ("webhooks:\n  x: 5\n", ":2: webhooks.x: a mapping is wanted, not the number 5"),
    "mirrors of which nothing is kept": ("mirror: {max_gib: 0}\n", ":1: mirror.max_gib: 0: 1 or more"),
    "a Vault without a token": (
        "catalogue: {vault_address: 'https://v'}\n", ":1: catalogue.vault_token_file: empty, and vault_address is"),
    "a directory without a name": ("catalogue: {paths: ['']}\n", ":1: catalogue.paths.0: empty: give a path"),
    "a proxy without a host": ("catalogue: {proxy: 'http://'}\n", ":1: catalogue.proxy: 'http://' is not http://HOST"),
    "a number of installs below none": ("life: {quarantine_after: -1}\n", ":1: life.quarantine_after: -1: 0 or more"),
    "HTTPS where nothing is served by it": (
        "dhcp:\n  profiles:\n    gpu: {https: firmware}\n",
        ":3: dhcp: profile gpu: https: firmware: nothing is served by HTTPS: set http.tls_port"),
    "a subnet that begins too late, with the line of its network": (
        "dhcp:\n  subnets:\n    - interface: a\n      network: 10.0.0.1/24\n",
        ":4: dhcp: subnet 10.0.0.1/24: network: 10.0.0.1/24 has host bits set; write the first address"),
    "DNS without zones": ("dns:\n  server: 10.0.0.1\n", ":1: dns: forward: empty: name at least one zone"),
    "broken YAML": ("http: {\n", "provisioner.yaml:"),
    "two subnets that overlap": (
        "dhcp:\n  subnets:\n    - {network: 10.0.0.0/16, interface: a, unknown: ignore}\n"
        "    - {network: 10.0.1.0/24, interface: b, unknown: ignore}\n",
        ":4: dhcp: subnets 10.0.0.0/16 and 10.0.1.0/24: the networks overlap"),
    "two of IPv6 on one wire": (
        "dhcp:\n  subnets6:\n    - {network: 'fd00:1::/64', interface: a, unknown: ignore}\n"
        "    - {network: 'fd00:2::/64', interface: a, unknown: ignore}\n",
        ":4: dhcp: subnets6 fd00:1::/64 and fd00:2::/64: both on a: give them the same shared_network"),
    "two of one name": (
        "dhcp:\n  subnets:\n    - {network: 10.0.0.0/24, name: x, interface: a, unknown: ignore}\n"
        "    - {network: 10.0.1.0/24, name: x, interface: b, unknown: ignore}\n",
        ":4: dhcp: subnets 10.0.0.0/24 and 10.0.1.0/24: both are called x"),
}  # fmt: skip


ONE = "dhcp:\n  subnets:\n    - network: 10.0.0.0/24\n      interface: a\n      unknown: ignore\n      name: x\n"
TWO = "    - network: 10.0.1.0/24\n      interface: b\n      unknown: ignore\n"
OUTSIDE = "      pools:\n        - 10.9.0.1-10.9.0.2\n"
SIX = "    - network: 'fd00:1::/64'\n      interface: a\n      unknown: ignore\n      name: x\n"
FIXED = "  reservations:\n    - mac: '52:54:00:00:00:01'\n      address: 10.0.0.5\n    - mac: "
FIXED6 = "  reservations6:\n    - mac: '52:54:00:00:00:01'\n      address: 'fd00:1::5'\n    - mac: "
WHERE: dict[str, tuple[str, list[str]]] = {
    "a pool outside of the network": (
        ONE + TWO + OUTSIDE, [":10: dhcp: subnet 10.0.1.0/24: pools: 10.9.0.1-10.9.0.2: not inside 10.0.1.0/24"]),
    "a pool for strangers outside of it": (
        ONE + TWO.replace("ignore", "quarantine") + OUTSIDE.replace("pools", "quarantine_pools"),
        [":10: dhcp: subnet 10.0.1.0/24: quarantine_pools: 10.9.0.1-10.9.0.2: not inside 10.0.1.0/24"]),
    "pools that overlap": (
        ONE + "      pools: [10.0.0.1-10.0.0.9, 10.0.0.9]\n",
        [":7: dhcp: subnet x: pools: 10.0.0.1- and 10.0.0.9- overlap"]),
    "the first of two with one name": (
        ONE + OUTSIDE + TWO + "      name: x\n",
        [":7: dhcp: subnet x: pools: 10.9.0.1-10.9.0.2: not inside 10.0.0.0/24"]),
    "the second of two with one name": (
        ONE + TWO + "      name: x\n" + OUTSIDE,
        [":11: dhcp: subnets[1]: pools: 10.9.0.1-10.9.0.2: not inside 10.0.1.0/24"]),
    "one with the name of one of IPv6": (
        ONE + OUTSIDE + "  subnets6:\n" + SIX,
        [":7: dhcp: subnet x: pools: 10.9.0.1-10.9.0.2: not inside 10.0.0.0/24"]),
    "one of IPv6 with the name of another": (
        ONE + "  subnets6:\n" + SIX + "      pools: ['fd00:9::1']\n",
        [":12: dhcp: subnet6 x: pools: fd00:9::1-fd00:9::1: not inside fd00:1::/64"]),
    "two that overlap, with a name of IPv6": (
        ONE + TWO.replace("10.0.1.0/24", "10.0.0.128/25") + "  subnets6:\n" + SIX,
        [":7: dhcp: subnets x and 10.0.0.128/25: the networks overlap"]),
    "the same network twice": (
        ONE + TWO.replace("10.0.1.0", "10.0.0.0"), [":7: dhcp: subnets x and 10.0.0.0/24: the networks overlap"]),
    "two on one wire that differ": (
        ONE + "      shared_network: w\n" + TWO + "      shared_network: w\n",
        [":8: dhcp: subnets x and 10.0.1.0/24: they share w, but differ in interface: change them together"]),
    "two reservations of one port": (
        ONE + FIXED + "'52:54:00:00:00:01'\n      address: 10.7.7.7\n", [
            ":11: dhcp: reservations[1]: address: 10.7.7.7 is in no subnet",
            ":10: dhcp: reservations[1]: mac 52:54:00:00:00:01 is taken by reservation 52:54:00:00:00:01; one",
        ]),
    "two reservations of one address": (
        ONE + FIXED + "'52:54:00:00:00:02'\n      address: 10.0.0.5\n",
        [":10: dhcp: reservation 52:54:00:00:00:02: address 10.0.0.5 is taken by reservation 52:54:00:00:00:01"]),
    "a reservation that does not say of what": (
        ONE + FIXED + "''\n      address: 10.0.0.6\n", [":10: dhcp: reservations[1]: mac: not a MAC address: ''"]),
    "a reservation of the router's address": (
        ONE + "      router: 10.0.0.6\n" + FIXED + "'52:54:00:00:00:02'\n      address: 10.0.0.6\n",
        [":12: dhcp: reservation 52:54:00:00:00:02: address: 10.0.0.6 is the subnet's router"]),
    "two reservations of one address of IPv6": (
        "dhcp:\n  subnets6:\n" + SIX + FIXED6 + "'52:54:00:00:00:02'\n      address: 'fd00:1:0::5'\n",
        [":11: dhcp: reservation6 fd00:1:0::5: address: fd00:1::5 is given twice"]),
    "two reservations of one machine for IPv6": (
        "dhcp:\n  subnets6:\n" + SIX + FIXED6 + "'52:54:00:00:00:01'\n      address: 'fd00:1::6'\n",
        [":10: dhcp: reservation6 fd00:1::6: fd00:1::5 and fd00:1::6 are for the same machine"]),
    "a switch port": (
        ONE + "  ports:\n    - {circuit_id: a, name: n}\n    - {circuit_id: a, name: m}\n",
        [":9: dhcp: ports[1]: another rule has the same relay, circuit_id and remote_id"]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "faults"), WHERE.values(), ids=WHERE.keys())
def test_each_fault_of_dhcp_is_told_with_the_line_of_what_is_wrong(
    tmp_path: Path, text: str, faults: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    told = caught.value.faults or [caught.value.message]
    assert [
        each.removeprefix(str(tmp_path / "provisioner.yaml"))[: len(said)]
        for each, said in zip(told, faults, strict=True)
    ] == faults


@pytest.mark.parametrize(("text", "fault"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text))
    assert fault in str(caught.value)
    assert len(caught.value.faults) == 1 or "YAML" in str(caught.value)


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, "htpp: {}\nhttp: {port: x}\nlog: {level: loud}\n"))
    assert len(caught.value.faults) == 3


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"/no/such\.yaml: cannot be read: No such file"):
        load(Path("/no/such.yaml"))


POOLS = {
    "our address is below": ("10.0.8.1/24", ("10.0.8.128-10.0.8.254",)),
    "our address is in it": ("10.0.8.200/24", ("10.0.8.128-10.0.8.199", "10.0.8.201-10.0.8.254")),
    "our address is its last": ("10.0.8.6/29", ("10.0.8.4-10.0.8.5",)),
}


@pytest.mark.parametrize(("own", "pools"), POOLS.values(), ids=POOLS.keys())
def test_an_interface_is_enough_to_start(own: str, pools: tuple[str, ...]) -> None:
    subnet = subnet_at("eth0", IPv4Interface(own))
    assert (subnet.network, subnet.interface, subnet.pools) == (str(IPv4Interface(own).network), "eth0", pools)


NO_NETWORKS = {
    "this host's own": ("127.0.0.1/8", "lo0: 127.0.0.1/8 is this host's own: no machine is on it"),
    "nobody else": ("10.0.8.1/31", "lo0: 10.0.8.1/31 leaves no addresses to give"),
}


@pytest.mark.parametrize(("own", "says"), NO_NETWORKS.values(), ids=NO_NETWORKS.keys())
def test_an_interface_on_whose_network_no_machine_can_be(own: str, says: str) -> None:
    with pytest.raises(ListenError, match=says):
        subnet_at("lo0", IPv4Interface(own))


def test_the_loopback_is_not_served() -> None:
    with pytest.raises(ListenError, match=r"lo: 127\.0\.0\.1/8"):
        with_interfaces(Config(), ["lo"])


def test_an_interface_without_address_is_refused() -> None:
    with pytest.raises(ListenError, match=r"nosuch0: no such interface .`ip link` lists them"):
        subnet_of("nosuch0")


def test_a_file_that_we_may_not_look_for_is_told_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(config, "DEFAULT_PATH", path := Path(folder) / "provisioner.yaml")
        assert default_path() is None
        Path(folder).chmod(0o000)
        with as_nobody():
            assert default_path() == path
            with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
                load(path)
        Path(folder).chmod(0o700)
