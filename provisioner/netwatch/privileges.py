"""Capabilities (capabilities(7)): how the daemon keeps them to itself, and how netwatch keeps only one."""

from __future__ import annotations

import ctypes
import struct

CAP_NET_RAW = 13
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 38, 47
AMBIENT_RAISE, AMBIENT_CLEAR_ALL = 2, 4
CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def keep_from_children() -> None:
    """Let no program that is started from now on inherit capabilities. Where there are none, nothing happens."""
    _libc.prctl(PR_CAP_AMBIENT, AMBIENT_CLEAR_ALL, 0, 0, 0)


def give_to_next_child() -> None:
    """Let what this thread starts inherit CAP_NET_RAW, if this process has it."""
    _libc.prctl(PR_CAP_AMBIENT, AMBIENT_RAISE, CAP_NET_RAW, 0, 0)


def keep_only_net_raw() -> None:
    """Give up every capability but CAP_NET_RAW, for good, also as root."""
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    head, room = (
        ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITY_VERSION_3, 0)),
        ctypes.create_string_buffer(24),
    )
    if _libc.capget(head, room) == 0:
        effective, permitted, _, *_ = struct.unpack("=6I", room.raw)
        bit = 1 << CAP_NET_RAW
        kept = struct.pack("=6I", (effective | permitted) & bit, permitted & bit, 0, 0, 0, 0)
        _libc.capset(head, ctypes.create_string_buffer(kept, 24))
