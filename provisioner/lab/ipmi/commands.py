"""All commands of the board in one table, and who may use them. No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner.lab.board import Board, Role
from provisioner.lab.faults import Fault
from provisioner.lab.ipmi import app, chassis, storage, transport
from provisioner.lab.ipmi.call import LAN_CHANNEL, Call, Caller, Table
from provisioner.lab.ipmi.message import Code, Refused, Request, Response

COMMANDS: Table = {**app.TABLE, **chassis.TABLE, **storage.TABLE, **transport.TABLE}

STRANGER = Caller(LAN_CHANNEL, Role.NONE, Role.NONE)


def changes_something(request: Request) -> bool:
    """Whether doing this twice is not the same as once: power verbs."""
    return (request.netfn, request.command) == (0x00, 0x02)


def respond(request: Request, board: Board, caller: Caller | None, now: float, consoles: Mapping[int, int]) -> Response:
    """Answer one command; `caller` is None before there is a session."""
    found = COMMANDS.get((request.netfn, request.command))
    if found is None:
        return Response(Code.INVALID_COMMAND)
    role, handler = found
    if role is not None and (caller is None or caller.role < role):
        return Response(Code.PRIVILEGE)
    if role is not None and board.faults.strikes(Fault.NODE_BUSY):
        return Response(Code.BUSY)
    try:
        return Response(Code.OK, handler(Call(board, caller or STRANGER, request.data, now, consoles)))
    except Refused as refused:
        return Response(refused.code)
