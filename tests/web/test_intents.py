"""What people type of a BMC, and what is refused."""

from __future__ import annotations

import pytest

from provisioner.errors import ConfigError
from provisioner.model.bmc import Driver
from provisioner.web.intents import BmcBody, bmc_address

LONG = ".".join(["a" * 63] * 4)
HOSTS = {
    "an address": ("192.0.2.17", True),
    "an address of IPv6": ("2001:db8::17", True),
    "a link-local one": ("fe80::17%eth0", True),
    "one that ends in IPv4's": ("::ffff:192.0.2.17", True),
    "a name": ("BMC-17", True),
    "a full name": ("bmc-17.oob.example.", True),
    "labels of 63 characters": (LONG[:253], True),
    "an empty label": ("bmc..example", False),
    "nothing but dots": ("..", False),
    "a label of 64 characters": (f"{'a' * 64}.example", False),
    "a name of 254 characters": (LONG[:254], False),
    "a label that begins with a hyphen": ("-17.example", False),
    "two words": ("a b", False),
    "nothing": ("", False),
}


USERS = {
    "an account of a board": (Driver.REDFISH, "admin", True),
    "an account of a directory": (Driver.REDFISH, "EXAMPLE\\the admin", True),
    "nobody, as boards have it": (Driver.IPMI, "", True),
    "two lines": (Driver.REDFISH, "admin\n", False),
    "an escape": (Driver.IPMI, "\x1b[2J", False),
    "an account of a system": (Driver.LIBVIRT, "virt-admin_9", True),
    "an account of a domain": (Driver.LIBVIRT, "admin@corp.example", True),
    "whoever runs the daemon": (Driver.LIBVIRT, "", True),
    "an option": (Driver.LIBVIRT, "-oProxyCommand=x", False),
    "a query": (Driver.LIBVIRT, "x@h/system?command=/tmp/it&y=", False),
    "a shell's": (Driver.LIBVIRT, "$(it)", False),
    "a line more": (Driver.LIBVIRT, "root\n", False),
}


@pytest.mark.parametrize(("driver", "name", "good"), USERS.values(), ids=USERS.keys())
def test_the_user_of_a_bmc(driver: Driver, name: str, good: bool) -> None:
    body = BmcBody(driver, "bmc-17", name)
    if good:
        assert bmc_address(body).username == name
    else:
        with pytest.raises(ConfigError, match=r"username: .*: (no control characters|letters, digits)"):
            bmc_address(body)


@pytest.mark.parametrize(("host", "good"), HOSTS.values(), ids=HOSTS.keys())
def test_the_host_of_a_bmc(host: str, good: bool) -> None:
    body = BmcBody(Driver.LIBVIRT, host, "admin")
    if good:
        assert bmc_address(body).host == host
        host.encode("idna")  # as a look-up does
    else:
        with pytest.raises(ConfigError, match="a name or an address"):
            bmc_address(body)
