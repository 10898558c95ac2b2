"""From where `doctor` fetches loaders, and with which CA."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.cli.client import Client
from provisioner.cli.doctor_loaders import Loaders, where
from provisioner.config import Config
from provisioner.web.ports import Listener, Site
from tests.cli.conftest import Daemon
from tests.web import fakes

WHERE = {
    "udp 192.0.2.1:69": ("tftp", "192.0.2.1", 69),
    "udp [fd77::1]:6969": ("tftp", "fd77::1", 6969),
    "http://192.0.2.1:8080": ("http", "192.0.2.1", 8080),
    "https://[fd77::1]:8443": ("https", "fd77::1", 8443),
    "http://0.0.0.0:80": ("http", "127.0.0.1", 80),
    "udp [::]:69": ("tftp", "::1", 69),
}


@pytest.mark.parametrize("address", WHERE)
def test_where_a_service_listens(address: str) -> None:
    assert where(address) == WHERE[address]


def listening(daemon: Daemon, *listeners: Listener) -> Loaders:
    """What fetches from a daemon that says it listens there."""

    def site(conductor: fakes.FakeConductor) -> Site:
        return replace(fakes.site(conductor), listeners=lambda: listeners)

    daemon.stop()
    daemon.site = site
    daemon.start()
    return Loaders(Client(str(daemon.path)), Config())


def test_what_is_of_no_host_here_is_not_asked(daemon: Daemon) -> None:
    loaders = listening(
        daemon,
        Listener("tftp", "udp 192.0.2.1:69"),
        Listener("http boot", "http://192.0.2.1:8080"),
        Listener("api", "x"),
    )
    assert [(str(found.level), found.about, found.text) for found in loaders.served()] == [
        ("warn", service, "192.0.2.1 not asked: it is no address of this host, so another host might answer")
        for service in ("tftp", "http")
    ]


def test_https_is_asked_with_the_ca_of_the_daemon_that_is_asked(daemon: Daemon) -> None:
    (found,) = listening(daemon, Listener("http boot", "https://127.0.0.1:1")).served()
    assert (str(found.level), found.about) == ("FAIL", "https")
    assert found.text == "nothing is served by HTTPS, so there is no CA"
