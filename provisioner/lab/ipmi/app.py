"""Application commands: device, channels, users, sessions, payloads (IPMI v2.0 chapters 20, 22 and 24). No I/O."""

from __future__ import annotations

from provisioner.lab.board import ACCOUNTS, FIRMWARE, ROLES, Account, Role
from provisioner.lab.ipmi.call import LAN_CHANNEL, SYSTEM_CHANNEL, Call, Table, guid, little
from provisioner.lab.ipmi.crypto import suites_of
from provisioner.lab.ipmi.message import Code, NetFn, Refused

ENTERPRISE = 32473
"""The number that IANA keeps for documentation and examples (RFC 5612)."""
PRODUCT = 1
DEVICE_SUPPORT = 0b10001111
"""Chassis device, FRU, SEL, SDR repository, sensors."""
IPMI_ENTERPRISE = 7154
SOL_PAYLOAD = 1
SOL_BYTES = 248
"""Payload size of a serial-over-LAN packet that fits in every implementation's buffer of 255."""
ENABLED, DISABLED = 1, 2


def device_id(call: Call) -> bytes:
    major, minor = FIRMWARE.split(".")
    head = bytes((0x20, 0x81, int(major), int(minor, 16), 0x02, DEVICE_SUPPORT))
    return head + little(ENTERPRISE, 3) + little(PRODUCT, 2)


def self_test(call: Call) -> bytes:
    return b"\x55\x00"


def nothing(call: Call) -> bytes:
    """For what a driver in the guest sets or clears at start-up, and this board has no use for."""
    return b""


def global_enables(call: Call) -> bytes:
    return b"\x08"


def message_flags(call: Call) -> bytes:
    return b"\x00"


def system_guid(call: Call) -> bytes:
    return guid(call.board.chassis.hardware.identity.uuid)


def authentication(call: Call) -> bytes:
    """Get Channel Authentication Capabilities: RMCP+ and named users only (table 22-15)."""
    channel = call.channel()
    extended = call.byte(0) & 0x80
    return bytes((channel, 0x80 if extended else 0x00, 0x04, 0x02 if extended else 0x00)) + bytes(4)


def cipher_suites(call: Call) -> bytes:
    """One slice of 16 bytes of the suites' records (section 22.15.2)."""
    channel = call.channel()
    records = b"".join(
        bytes((0xC0, one.number, one.authentication, 0x40 | one.integrity, 0x80 | one.confidentiality))
        for one in suites_of(call.board.faults)
    )
    start = (call.byte(2) & 0x3F) * 16
    return bytes((channel,)) + records[start : start + 16]


def channel_info(call: Call) -> bytes:
    channel = call.channel()
    lan = channel == LAN_CHANNEL
    kind = bytes((channel, 0x04, 0x01, 0x80)) if lan else bytes((channel, 0x0C, 0x05, 0x00))
    return kind + little(IPMI_ENTERPRISE, 3) + bytes(2)


def channel_access(call: Call) -> bytes:
    if call.channel() == SYSTEM_CHANNEL:
        raise Refused(Code.READ_ONLY)
    return bytes((0x02, Role.ADMINISTRATOR))


def _account(call: Call, index: int) -> Account:
    found = call.board.accounts.get(call.byte(index) & 0x3F)
    if found is None:
        raise Refused(Code.INVALID_FIELD)
    return found


def user_access(call: Call) -> bytes:
    account = _account(call, 1)
    enabled = sum(one.enabled for one in call.board.accounts)
    status = ENABLED if account.enabled else DISABLED
    return bytes((ACCOUNTS, enabled | status << 6, 0, 0x30 | account.role))


def set_user_access(call: Call) -> bytes:
    account = _account(call, 1)
    limit = call.byte(2) & 0x0F
    if limit not in ROLES:
        raise Refused(Code.INVALID_FIELD)
    call.board.accounts.change(account.slot, role=Role(limit))
    return b""


def user_name(call: Call) -> bytes:
    return _account(call, 0).name.encode().ljust(16, b"\0")


def set_user_name(call: Call) -> bytes:
    account = _account(call, 0)
    name = call.bytes_from(1, 16).rstrip(b"\0").decode("ascii", "replace")
    if account.slot == 1 or any(one.name == name and one.slot != account.slot for one in call.board.accounts if name):
        raise Refused(Code.INVALID_FIELD)
    call.board.accounts.change(account.slot, name=name)
    return b""


def set_password(call: Call) -> bytes:
    """Section 22.30: 0 disable, 1 enable, 2 set, 3 test; 16 or 20 bytes."""
    account = _account(call, 0)
    size = 20 if call.byte(0) & 0x80 else 16
    match call.byte(1) & 3:
        case 0:
            call.board.accounts.change(account.slot, enabled=False)
        case 1:
            call.board.accounts.change(account.slot, enabled=True)
        case 2:
            call.board.accounts.change(account.slot, password=_password(call, size))
        case _:
            if _password(call, size) != account.password:
                raise Refused(0x80)
    return b""


def _password(call: Call, size: int) -> str:
    return call.bytes_from(2, size).rstrip(b"\0").decode("latin-1")


def set_privilege(call: Call) -> bytes:
    """Set Session Privilege Level; 0 asks for the present one (section 22.18)."""
    wanted = call.byte(0) & 0x0F
    if wanted:
        if wanted not in ROLES or wanted > call.caller.limit:
            raise Refused(0x81)
        call.caller.role = Role(wanted)
    return bytes((call.caller.role,))


def close_session(call: Call) -> bytes:
    if int.from_bytes(call.bytes_from(0, 4), "little") != call.caller.session:
        raise Refused(0x87)
    call.caller.closing = True
    return b""


def activate_payload(call: Call) -> bytes:
    """Give this session the serial console, if no other has it (section 24.1)."""
    if call.byte(0) & 0x3F != SOL_PAYLOAD or call.byte(1) & 0x0F != 1 or not call.caller.session:
        raise Refused(Code.INVALID_FIELD)
    if call.consoles:
        raise Refused(Code.PAYLOAD_ACTIVE)
    call.caller.console_wanted = True
    return bytes(4) + little(SOL_BYTES, 2) + little(SOL_BYTES, 2) + little(call.board.rmcp_port, 2) + b"\xff\xff"


def deactivate_payload(call: Call) -> bytes:
    if call.byte(0) & 0x3F != SOL_PAYLOAD:
        raise Refused(Code.INVALID_FIELD)
    if not call.consoles:
        raise Refused(Code.NOT_FOUND)
    call.caller.console_wanted = False
    return b""


def payload_status(call: Call) -> bytes:
    return bytes((1, 1 if call.consoles else 0, 0))


def payload_instance(call: Call) -> bytes:
    return little(call.consoles.get(1, 0), 4) + bytes(8)


def payload_support(call: Call) -> bytes:
    call.channel()
    return b"\x03" + bytes(7)


def payload_version(call: Call) -> bytes:
    return b"\x10"


def payload_access(call: Call) -> bytes:
    return b"\x02\x00\x00\x00"


TABLE: Table = {
    (NetFn.APP, 0x01): (Role.USER, device_id),
    (NetFn.APP, 0x04): (Role.USER, self_test),
    (NetFn.APP, 0x08): (Role.USER, system_guid),
    (NetFn.APP, 0x2E): (Role.ADMINISTRATOR, nothing),
    (NetFn.APP, 0x2F): (Role.USER, global_enables),
    (NetFn.APP, 0x30): (Role.ADMINISTRATOR, nothing),
    (NetFn.APP, 0x31): (Role.ADMINISTRATOR, message_flags),
    (NetFn.APP, 0x37): (None, system_guid),
    (NetFn.APP, 0x38): (None, authentication),
    (NetFn.APP, 0x3B): (Role.USER, set_privilege),
    (NetFn.APP, 0x3C): (Role.USER, close_session),
    (NetFn.APP, 0x40): (Role.ADMINISTRATOR, nothing),
    (NetFn.APP, 0x41): (Role.USER, channel_access),
    (NetFn.APP, 0x42): (Role.USER, channel_info),
    (NetFn.APP, 0x43): (Role.ADMINISTRATOR, set_user_access),
    (NetFn.APP, 0x44): (Role.USER, user_access),
    (NetFn.APP, 0x45): (Role.ADMINISTRATOR, set_user_name),
    (NetFn.APP, 0x46): (Role.USER, user_name),
    (NetFn.APP, 0x47): (Role.ADMINISTRATOR, set_password),
    (NetFn.APP, 0x48): (Role.OPERATOR, activate_payload),
    (NetFn.APP, 0x49): (Role.OPERATOR, deactivate_payload),
    (NetFn.APP, 0x4A): (Role.USER, payload_status),
    (NetFn.APP, 0x4B): (Role.USER, payload_instance),
    (NetFn.APP, 0x4C): (Role.ADMINISTRATOR, nothing),
    (NetFn.APP, 0x4D): (Role.USER, payload_access),
    (NetFn.APP, 0x4E): (Role.USER, payload_support),
    (NetFn.APP, 0x4F): (Role.USER, payload_version),
    (NetFn.APP, 0x54): (None, cipher_suites),
}
