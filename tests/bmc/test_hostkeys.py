"""A host key is pinned once, told to whoever keeps it, and forgotten with its BMC."""

from __future__ import annotations

from provisioner.bmc.hostkeys import HostKey, HostKeys


def test_what_is_pinned_is_told_and_forgotten() -> None:
    keys, told = HostKeys(), list[HostKey]()
    keys.load([HostKey("192.0.2.1", 22, "SHA256:a"), HostKey("192.0.2.2", 22, "SHA256:b")])
    keys.kept = told.append
    assert [keys.pinned("192.0.2.1", port) for port in (22, 2200)] == ["SHA256:a", ""]
    keys.pin("192.0.2.1", 22, "SHA256:a")
    keys.pin("192.0.2.1", 2200, "SHA256:c")
    assert told == [HostKey("192.0.2.1", 2200, "SHA256:c")], "only what is new"
    keys.forget("192.0.2.1")
    assert told[1:] == [HostKey("192.0.2.1", 22, ""), HostKey("192.0.2.1", 2200, "")]
    assert [keys.pinned(host, 22) for host in ("192.0.2.1", "192.0.2.2")] == ["", "SHA256:b"]
