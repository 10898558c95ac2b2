"""Many datagrams in one system call: recvmmsg(2) and sendmmsg(2), which the standard library does not have.

A rack that powers on sends hundreds of packets at once. One call for all of them halves what the kernel costs us.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from array import array
from collections.abc import Mapping, Sequence

from provisioner.dhcp.packet import TOO_LONG

COUNT = 128
"""Datagrams in one call: enough to group their leases, few enough (3 ms of work) to let others run."""
SIZE = TOO_LONG
"""Octets kept of a datagram: what is so long is no message."""
NAME = 16
"""Length of a sockaddr_in."""
CONTROL = 64
META = NAME + CONTROL
"""What stands beside a datagram: where from, and the control message."""
_CONTROL_HEADER = 16
"""Bytes before the data of a control message (64 bits)."""
PKTINFO = slice(NAME + _CONTROL_HEADER, NAME + _CONTROL_HEADER + 12)
"""The in_pktinfo in what stands beside a datagram (ip(7), IP_PKTINFO)."""
_SEEN = PKTINFO.stop


SOL_UDP, UDP_SEGMENT = 17, 103
JOIN_COUNT, JOIN_SIZE = 64, 65_000
"""What the kernel cuts at most in one go (UDP_MAX_SEGMENTS), and about the longest IP packet."""
_SEGMENT = struct.Struct("=QiiHxxxxxx")
"""The control message: its length without the padding, level, type, length of each datagram."""
IP_PKTINFO = 8
_SOURCE = struct.Struct("=Qiii4s8x")
"""The one that says from which of our addresses a datagram leaves: length, level, type, and an in_pktinfo (ip(7))."""
_CUT_AT = NAME + _SOURCE.size
_CANNOT_JOIN = (errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP, errno.ENOPROTOOPT)


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iov", ctypes.c_void_p),
        ("iov_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("head", _Msghdr), ("length", ctypes.c_uint32))


_libc = ctypes.PyDLL(None, use_errno=True)
_libc.recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_libc.sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


class _Table:
    """Message headers over fixed memory, one slot a datagram."""

    def __init__(self, control: int) -> None:
        self.data = (ctypes.c_char * (COUNT * SIZE))()
        self.meta = (ctypes.c_char * (COUNT * META))()
        self.iovecs = (_Iovec * COUNT)()
        self.heads = (_Mmsghdr * COUNT)()
        for slot in range(COUNT):
            self.iovecs[slot] = _Iovec(ctypes.addressof(self.data) + slot * SIZE, SIZE)
            head = self.heads[slot].head
            head.name, head.name_length = ctypes.addressof(self.meta) + slot * META, NAME
            head.iov, head.iov_count = ctypes.addressof(self.iovecs) + slot * ctypes.sizeof(_Iovec), 1
            if control:
                head.control, head.control_length = ctypes.addressof(self.meta) + slot * META + NAME, control
        self.data_view, self.meta_view = memoryview(self.data).cast("B"), memoryview(self.meta).cast("B")
        self.heads_view = memoryview(self.heads).cast("B")
        self.fresh = bytes(self.heads_view)
        """The headers as they were before the kernel wrote into them."""


class Receiver:
    """Receives from one socket."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._table = _Table(CONTROL)
        self._address = ctypes.addressof(self._table.heads)
        self._lengths = memoryview(self._table.heads_view).cast("I")[_Mmsghdr.length.offset // 4 :: _HEAD // 4]

    def receive(self) -> list[tuple[bytes, bytes]]:
        """Give what has arrived, at most `COUNT`, each with what stands beside it (`META`). Raises `OSError`.

        Of a datagram that was longer than `SIZE`, so much is there.
        """
        table = self._table
        count = _libc.recvmmsg(self._descriptor, self._address, COUNT, socket.MSG_DONTWAIT, None)
        if count < 0:
            raise_unless_empty(ctypes.get_errno())
            return []
        # one copy of everything, then slices of it: a slice of bytes costs a third of one through a view
        data, meta = bytes(table.data_view[: count * SIZE]), bytes(table.meta_view[: count * META])
        lengths = self._lengths[:count].tolist()
        found = [
            (data[slot * SIZE : slot * SIZE + length], meta[slot * META : slot * META + _SEEN])
            for slot, length in enumerate(lengths)
        ]
        table.heads_view[: count * _HEAD] = table.fresh[: count * _HEAD]
        return found


class Sender:
    """Sends through one socket.

    Datagrams of one length to one place leave as one, which the kernel or the network card cuts again (UDP_SEGMENT,
    udp(7)): replies to the machines of a rack behind one relay, at a fifth of the price.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._table = _Table(CONTROL)
        self._data = ctypes.addressof(self._table.data)
        self._address = ctypes.addressof(self._table.heads)
        self._iovecs = memoryview(self._table.iovecs).cast("B").cast("Q")
        words = self._table.heads_view.cast("Q")
        self._controls = words[_Msghdr.control_length.offset // 8 :: _HEAD // 8]
        self._named: list[bytes] = [b""] * COUNT
        """What stands in the slots of names: most batches go where the last one went."""
        self.joins = True
        """False after the kernel did not take joined datagrams: an old one, or a network card without checksums."""

    def send(self, datagrams: Sequence[tuple[bytes, bytes]]) -> Mapping[int, str]:
        """Send each of at most `COUNT` (bytes, `way`); give those by their place that were not taken, and why."""
        runs = self._lay_out(datagrams)
        lost: dict[int, str] = {}
        at = begin = 0
        while at < len(runs):
            sent = _libc.sendmmsg(self._descriptor, self._address + at * _HEAD, len(runs) - at, socket.MSG_DONTWAIT)
            if sent <= 0:  # the first of them cannot be sent
                error = ctypes.get_errno()
                if runs[at] > 1 and error in _CANNOT_JOIN:
                    self.joins = False
                    return lost | {begin + place: why for place, why in self.send(datagrams[begin:]).items()}
                lost |= dict.fromkeys(range(begin, begin + runs[at]), os.strerror(error))
                sent = 1
            begin += sum(runs[at : at + sent])
            at += sent
        return lost

    def _lay_out(self, datagrams: Sequence[tuple[bytes, bytes]]) -> list[int]:
        """Write them and what stands beside them into the table; give how many are joined in each slot."""
        joined = b"".join([data for data, _ in datagrams])
        self._table.data_view[: len(joined)] = joined
        runs: list[int] = []
        iovecs: list[int] = []
        at, end = 0, len(datagrams)
        address = self._data
        while at < end:
            data, name = datagrams[at]
            length, size, first = len(data), 0, at
            limit = min(end, at + (min(JOIN_COUNT, JOIN_SIZE // length) if self.joins and length else 1))
            while at < limit and (step := datagrams[at])[1] == name and len(step[0]) == length:
                size += length
                at += 1
            self._head(len(runs), name, length if at - first > 1 else 0)
            runs.append(at - first)
            iovecs += address, size
            address += size
        self._iovecs[: len(iovecs)] = array("Q", iovecs)
        return runs

    def _head(self, slot: int, name: bytes, cut: int) -> None:
        """Say where to send what is in a slot, and into which lengths it is to be cut (0: it is one datagram)."""
        meta = slot * META
        if self._named[slot] != name:
            self._table.meta_view[meta : meta + _CUT_AT] = self._named[slot] = name
        self._controls[slot] = _SOURCE.size + _SEGMENT.size if cut else _SOURCE.size
        if cut:
            _SEGMENT.pack_into(self._table.meta_view, meta + _CUT_AT, _SEGMENT.size - 6, SOL_UDP, UDP_SEGMENT, cut)


_HEAD = ctypes.sizeof(_Mmsghdr)


def raise_unless_empty(number: int) -> None:
    """Nothing there, or an ICMP error about something sent earlier, is no failure; all else is raised."""
    if number not in (errno.EAGAIN, errno.EINTR, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
        raise OSError(number, os.strerror(number))


def way(ip: int, port: int, source: int = 0) -> bytes:
    """Write where to send a datagram, and from which of our addresses (0: as the kernel chooses), as `Sender` wants it.

    An address that is not ours (any more) cannot be sent from.
    """
    length = _SOURCE.size - 4
    return sockaddr(ip, port) + _SOURCE.pack(length, socket.IPPROTO_IP, IP_PKTINFO, 0, source.to_bytes(4, "big"))


def sockaddr(ip: int, port: int) -> bytes:
    """Write a sockaddr_in (ip(7))."""
    return socket.AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big") + ip.to_bytes(4, "big") + bytes(8)
