"""The way to a Redfish service: pins, redirects, broken answers, repeats. Real sockets, scripted service."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import json
import socket
import ssl
from pathlib import Path

import pytest
from aiohttp import web

from provisioner.bmc.redfish.client import ROOT, RedfishClient
from provisioner.bmc.redfish.way import base_url, fingerprint, no_connection
from provisioner.errors import (
    BmcAuthError,
    BmcBusy,
    BmcError,
    BmcNotTrusted,
    BmcProtocolError,
    BmcTimeout,
    BmcUnreachable,
    BmcUnsupported,
)
from provisioner.model.bmc import BmcAddress, Driver
from tests.bmc.redfish.service import (
    PASSWORD,
    RESET,
    SYSTEM,
    Script,
    Service,
    breaks_off,
    complains,
    hangs_up,
    says,
    serve,
)


async def test_a_changed_certificate_is_refused_before_anything_is_sent(service: Service) -> None:
    other = dataclasses.replace(service.address, fingerprint="ab" * 32)
    async with RedfishClient(other, PASSWORD) as deceived:
        with pytest.raises(
            BmcNotTrusted, match=r"not the one that was pinned.*`provisionctl bmc add MACHINE URL` pins it"
        ):
            await deceived.get(SYSTEM)
    assert service.asked == []


async def test_without_a_pin_a_self_signed_certificate_is_not_trusted(service: Service) -> None:
    async with RedfishClient(dataclasses.replace(service.address, fingerprint=""), PASSWORD) as unpinned:
        with pytest.raises(BmcNotTrusted, match=r"cannot be trusted.*`provisionctl bmc add MACHINE URL` pins it"):
            await unpinned.get(SYSTEM)
    assert service.asked == []


async def test_fingerprint_is_what_enrolment_pins(service: Service) -> None:
    assert await fingerprint(service.address) == service.address.fingerprint
    assert len(service.address.fingerprint) == 64


NO_WAY = {
    "nothing listens": (
        ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"),
        BmcUnreachable("x: nothing listens on this port", hint="is the BMC powered, is the address right?"),
    ),
    "nothing listens on any address of a name": (
        OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 111] ('127.0.0.1', 1)"),
        BmcUnreachable("x: nothing listens on this port", hint="is the BMC powered, is the address right?"),
    ),
    "no way there": (
        OSError(errno.EHOSTUNREACH, "Connect call failed"),
        BmcUnreachable("x: No route to host", hint="is the BMC powered, is the address right?"),
    ),
    "no answer": (
        TimeoutError(),
        BmcUnreachable("x: no answer within 5 s", hint="is the BMC powered, is the address right?"),
    ),
    "no such name": (
        socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        BmcUnreachable("x: there is no address for this name", hint="check the name, or give an address"),
    ),
    "not TLS": (
        ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"),
        BmcProtocolError("x: what answers there speaks no TLS", hint="Redfish is HTTPS, on port 443"),
    ),
    "TLS that is too old": (
        ssl.SSLError(1, "[SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version (_ssl.c:1006)"),
        BmcProtocolError(
            "x: no TLS connection: [SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version (_ssl.c:1006)",
            hint="is its TLS older than 1.2?",
        ),
    ),
    "nobody knows": (
        OSError("?"),
        BmcUnreachable("x: the connection was lost", hint="is the BMC powered, is the address right?"),
    ),
}


@pytest.mark.parametrize(("error", "said"), NO_WAY.values(), ids=NO_WAY.keys())
def test_why_there_is_no_connection(error: OSError, said: BmcError) -> None:
    told = no_connection("x", error)
    assert (type(told), str(told)) == (type(said), str(said))
    assert getattr(told, "unsent", True), "nothing was sent"


async def test_a_port_where_nobody_is_and_one_without_tls() -> None:
    with pytest.raises(BmcUnreachable, match=r"127.0.0.1:9: nothing listens on this port"):
        await fingerprint(BmcAddress(Driver.REDFISH, "127.0.0.1", 9, "a"))
    plain = await asyncio.start_server(_plain, "127.0.0.1", 0)
    async with plain:
        address = BmcAddress(Driver.REDFISH, "127.0.0.1", plain.sockets[0].getsockname()[1], "a", "ab" * 32)
        with pytest.raises(BmcProtocolError, match="speaks no TLS"):
            await fingerprint(address)
        async with RedfishClient(address, "b") as client:
            with pytest.raises(BmcProtocolError, match="speaks no TLS"):
                await client.get(SYSTEM)


async def _plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(64)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()
    await writer.wait_closed()


async def test_nobody_there() -> None:
    async with RedfishClient(BmcAddress(Driver.REDFISH, "127.0.0.1", 9, "a", "ab" * 32), "b") as alone:
        with pytest.raises(BmcUnreachable):
            await alone.get(ROOT)


ANSWERS: dict[str, tuple[Script, type[BmcError], str]] = {
    "HTML": (says(200, b"<html>Login</html>", Content_Type="text/html"), BmcProtocolError, "not JSON"),
    "nothing": (says(200, b""), BmcProtocolError, "not JSON"),
    "a list": (says(200, b"[1]"), BmcProtocolError, "list where a JSON object belongs"),
    "brackets without end": (says(200, b"[" * 100_000), BmcProtocolError, "not JSON"),
    "not UTF-8": (says(200, b'{"a": "\xff"}'), BmcProtocolError, "not JSON"),
    "half a body": (breaks_off, BmcUnreachable, "broke off"),
    "five megabytes": (says(200, b" " * (5 << 20)), BmcProtocolError, "more than 4194304 bytes"),
    "a redirect to another host": (says(302, Location="https://192.0.2.7/x"), BmcProtocolError, "points outside"),
    "a redirect to another port": (says(302, Location="https://127.0.0.1:1/x"), BmcProtocolError, "points outside"),
    "a redirect to itself": (says(302, Location=SYSTEM), BmcProtocolError, "not followed"),
    "a redirect to nowhere": (says(302), BmcProtocolError, "not followed"),
    "no such resource": (complains(404), BmcUnsupported, "It failed."),
    "an unknown status": (says(299 + 300), BmcProtocolError, "HTTP 599"),
    "password change required": (complains(403, "Base.1.8.PasswordChangeRequired"), BmcAuthError, "It failed"),
}


@pytest.mark.parametrize(("script", "kind", "said"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer_that_is_of_no_use(
    service: Service, client: RedfishClient, script: Script, kind: type[BmcError], said: str
) -> None:
    service.next(f"GET {SYSTEM}", script, script)
    with pytest.raises(kind, match=said) as caught:
        await client.get(SYSTEM)
    assert str(service.address) in caught.value.message
    service.scripts.clear()
    assert (await client.get(SYSTEM)).text("Model") == "A1", "the next call works"


async def test_a_redirect_within_the_service_is_followed(service: Service, client: RedfishClient) -> None:
    service.next("GET /redfish/v1/old", says(308, Location="/redfish/v1/older"))
    service.next("GET /redfish/v1/older", says(301, Location=SYSTEM))
    assert (await client.get("/redfish/v1/old")).text("Model") == "A1"


async def test_a_redirect_loop_ends(service: Service, client: RedfishClient) -> None:
    for hop in range(9):
        service.next(f"GET /redfish/v1/{hop}", says(302, Location=f"/redfish/v1/{hop + 1}"))
    with pytest.raises(BmcProtocolError, match="not followed"):
        await client.get("/redfish/v1/0")


async def test_a_change_is_not_carried_along_a_302(service: Service, client: RedfishClient) -> None:
    service.next(f"PATCH {SYSTEM}", says(302, Location="/redfish/v1/x"))
    with pytest.raises(BmcProtocolError, match="not followed"):
        await client.send("PATCH", SYSTEM, {})


async def test_the_other_spelling_of_a_slash_is_tried(service: Service, client: RedfishClient) -> None:
    assert (await client.get(SYSTEM + "/")).text("Model") == "A1"
    assert (await client.get("/redfish/v1")).link("Systems") == "/redfish/v1/Systems"


async def test_a_busy_bmc_is_asked_again_when_it_says(service: Service, client: RedfishClient) -> None:
    service.next(f"GET {SYSTEM}", complains(503, Retry_After="0"), complains(503, Retry_After="0"))
    assert (await client.get(SYSTEM)).text("Model") == "A1"


async def test_a_bmc_that_stays_busy_is_an_error_with_its_own_words(service: Service, client: RedfishClient) -> None:
    service.next(f"GET {SYSTEM}", *[complains(503, message="Booting.", Retry_After="0")] * 4)
    with pytest.raises(BmcBusy, match=r"HTTP 503: Booting\.") as caught:
        await client.get(SYSTEM)
    assert caught.value.retry_after_s == 0


async def test_what_was_refused_before_it_began_is_sent_again(service: Service, client: RedfishClient) -> None:
    service.next(f"POST {RESET}", complains(503, Retry_After="0"))
    await client.send("POST", RESET, {"ResetType": "ForceRestart"}, repeat=False)
    assert service.bodies == [{"ResetType": "ForceRestart"}]


async def test_what_may_have_been_done_is_not(service: Service, client: RedfishClient) -> None:
    await client.get(SYSTEM)
    service.next(f"POST {RESET}", hangs_up)
    with pytest.raises(BmcTimeout, match="it may have been done"):
        await client.send("POST", RESET, {"ResetType": "ForceRestart"}, repeat=False)
    service.next(f"POST {RESET}", complains(500))
    with pytest.raises(BmcBusy, match="HTTP 500"):
        await client.send("POST", RESET, {"ResetType": "ForceRestart"}, repeat=False)
    assert service.asked.count(f"POST {RESET}") == 2


async def test_what_found_no_connection_was_not_done(tmp_path: Path) -> None:
    service = Service()
    async with serve(service, tmp_path):
        client = RedfishClient(service.address, PASSWORD)
        await client.get(SYSTEM)
    with pytest.raises(BmcUnreachable, match="nothing listens on this port"):
        await client.send("POST", RESET, {"ResetType": "ForceRestart"}, repeat=False)
    await client.close()


async def test_a_connection_that_is_lost_is_made_again_where_that_is_safe(
    service: Service, client: RedfishClient
) -> None:
    await client.get(SYSTEM)
    service.next(f"GET {SYSTEM}", hangs_up)
    assert (await client.get(SYSTEM)).text("Model") == "A1"
    service.next(f"PATCH {SYSTEM}", hangs_up)
    await client.send("PATCH", SYSTEM, {"AssetTag": "y"})
    assert service.system["AssetTag"] == "y"


async def test_one_request_at_a_time(service: Service, client: RedfishClient) -> None:
    under_way = 0

    async def counts(request: web.Request) -> web.StreamResponse:
        nonlocal under_way
        assert under_way == 0
        under_way += 1
        await asyncio.to_thread(json.dumps, {})
        under_way -= 1
        return web.json_response({})

    service.next(f"GET {SYSTEM}", *[counts] * 8)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(client.get(SYSTEM))


async def test_a_silent_bmc_is_not_waited_for_longer_than_the_limit(
    service: Service,
) -> None:
    never = asyncio.Event()

    async def is_silent(request: web.Request) -> web.StreamResponse:
        await never.wait()
        return web.Response()

    service.next(f"GET {SYSTEM}", is_silent)
    async with RedfishClient(service.address, PASSWORD, read_s=0.2) as quick, asyncio.timeout(20):
        while f"GET {SYSTEM}" not in service.asked:  # the login has the same limit
            with pytest.raises(BmcUnreachable, match=r"no answer within 0\.2 s"):
                await quick.get(SYSTEM)
    never.set()
    assert service.asked.count(f"GET {SYSTEM}") == 1, "it was asked again"


def test_base_url_puts_ipv6_in_brackets() -> None:
    assert base_url(BmcAddress(Driver.REDFISH, "fd00::1", 443, "a")) == "https://[fd00::1]:443"
