"""Why a machine did not boot: every diagnosis that `provisionctl why` knows, the surest first. No I/O.

What fits none is "unknown", with the evidence. docs/diagnoses.md explains each to an operator; each has a test that
brings the fault about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from provisioner.lifecycle.story import Story
from provisioner.lifecycle.symptoms import (
    ANSWERED,
    AT_WORK,
    FETCHES,
    FROM_DISK,
    TO_LOADER,
    TO_SYSTEM,
    Evidence,
    agent_cannot_reach,
    agent_gone,
    bmc,
    console,
    fetch_broken,
    held,
    hook_failed,
    job,
    kernel_not_fetched,
    late_first_packet,
    line,
    loader_no_address,
    loader_no_script,
    loops,
    netboots_again,
    no_dhcp,
    no_driver,
    no_hands,
    no_tftp,
    nothing_from_disk,
    offer_not_taken,
    override_ignored,
    secure_boot,
    stuck_at,
    system_silent,
    tftp_stalled,
    unserved,
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that goes wrong: how to see it, what to say, what to do."""

    id: str
    test: Callable[[Story], Evidence]
    text: str
    todo: str


HELD = Diagnosis("held", held, "it is kept back: {hold}", "`provisionctl let-go {name}` lets it go")

DIAGNOSES: tuple[Diagnosis, ...] = (
    HELD,
    Diagnosis(
        "first-boot-hook", hook_failed,
        "its system is on the disk, and a script in it failed: {failure}",
        "mend the script and install it again; the installer's log or the system's journal has all that it printed",
    ),
    Diagnosis(
        "bmc-password", bmc("BmcAuthError"),
        "its BMC refuses our user or password",
        "give the right ones to `provisionctl bmc add {name}`; until then nothing is tried, and no account locks",
    ),
    Diagnosis(
        "bmc-not-trusted", bmc("BmcNotTrusted"),
        "its BMC shows another certificate or key than the one that was pinned, and was sent no password",
        "where the BMC was given a new one, `provisionctl bmc add {name}` pins that; if not, somebody listens in",
    ),
    Diagnosis(
        "bmc-stranger", bmc("BmcStranger"),
        "at the address of its BMC another machine's board answers, and nothing was changed on that: {failure}",
        "put its BMC's new address on record: `provisionctl bmc add {name} URL`",
    ),
    Diagnosis(
        "bmc-privilege", bmc("BmcPrivilegeError"),
        "our account at its BMC may not do this", "give the account the role Operator or Administrator",
    ),
    Diagnosis(
        "bmc-unsupported", bmc("BmcUnsupported", "BmcLacking"),
        "its BMC cannot do what the run needs, and nothing else was done in its place",
        "`provisionctl bmc why {name}` lists what the board can do; another driver may offer it",
    ),
    Diagnosis(
        "bmc-busy", bmc("BmcBusy"),
        "its BMC says that it is busy, again and again", "wait, or restart the BMC",
    ),
    Diagnosis(
        "bmc-unreachable", bmc("BmcUnreachable"),
        "its BMC does not answer", "check its cable, address and VLAN: ping it from this server",
    ),
    Diagnosis(
        "power-stuck", bmc("BmcTimeout", power=True),
        "its BMC took the command, but the power state did not change",
        "look at the machine: a held power button, a dead supply, or a BMC that has to be restarted",
    ),
    Diagnosis(
        "two-dhcp-servers",
        line("dhcp.", "chose another server|another DHCP server.* gave it", *TO_SYSTEM, until=("dhcp.ack",)),
        "another DHCP server on this network answers it, and it takes that one's offers",
        "find and stop the other server (its address is in the line), or set this subnet to mode proxy",
    ),
    Diagnosis(
        "pool-empty", line("dhcp.pool-empty", "", *TO_SYSTEM, until=ANSWERED), "there is no address left to give it",
        "enlarge the subnet's pools, or reserve an address for it",
    ),
    Diagnosis(
        "address-conflict", line("dhcp.conflict", "", *TO_LOADER, until=ANSWERED),
        "the address meant for it is used by something else",
        "find what uses the address without a lease; it is left out of the pool for a day",
    ),
    Diagnosis(
        "declined", line("dhcp.decline", "", *TO_SYSTEM, until=("dhcp.ack",)),
        "it found its address taken by another host and gave it back",
        "find the host that uses the address without a lease",
    ),
    Diagnosis(
        "too-many-new", line("dhcp.limited", "", *TO_SYSTEM, until=ANSWERED),
        "so many new machines ask on its port or interface that it was made to wait",
        "look for something that makes up addresses there, or raise new_per_s of the subnet",
    ),
    Diagnosis(
        "wrong-network", unserved("no subnet of ours|switched off"),
        "it asks on a network that is none of ours: the wrong port is first in its boot order, or in the wrong VLAN",
        "put the port on the provisioning network first in the firmware's boot order, or configure the subnet",
    ),
    Diagnosis(
        "not-served", unserved("nobody enrolled|no reservation|no fixed address"),
        "the subnet's settings say not to answer it", "enrol its MAC, or change `unknown` or `mode` of the subnet",
    ),
    Diagnosis(
        "no-architecture",
        line("dhcp.", "does not say which architecture|no loader for architecture", *TO_LOADER,
             until=(*ANSWERED, *FETCHES)),
        "there is no loader for what its firmware says it is",
        "set `loader` for the architecture in the subnet's settings",
    ),
    Diagnosis(
        "boot-override-ignored", override_ignored,
        "it started the system on its disk although its BMC took the order to boot from the network",
        "update the BMC's firmware, or put network boot first in the boot order",
    ),
    Diagnosis(
        "offers-not-taken", offer_not_taken,
        "it asks again and again but takes no offer: our answers do not reach it, or its firmware rejects them",
        "look for a one-way fault: VLAN, relay, duplex, or a filter on UDP port 68",
    ),
    Diagnosis(
        "no-dhcp", no_dhcp, "it is switched on, but nothing of it reached us",
        "check cable and VLAN of its boot port, and that network boot is enabled in its firmware",
    ),
    Diagnosis(
        "loader-missing",
        line("", "nothing is served under this name|its loaders are not all served", "wait.loader", until=FETCHES),
        "it asks for a loader that is not served",
        "`provisionctl loaders install --fetch {arch}`, then `provisionctl loaders list`",
    ),
    Diagnosis(
        "tftp-stalled", tftp_stalled,
        "its TFTP transfer starts and stalls: packets are lost, or too large for a link on the way (MTU)",
        "compare the MTU of switch, relay and server; look for errors on its port",
    ),
    Diagnosis(
        "ca-not-trusted", no_hands,
        "its firmware is told to boot by HTTPS, and shakes no hands with us",
        "enrol the certificate of `provisionctl ca export` in its firmware, or set `https: nobody` for it",
    ),
    Diagnosis(
        "no-tftp", no_tftp,
        "it took our offer but asked for no loader: its firmware rejected the offer, or UDP port 69 is filtered",
        "open UDP 69 and the ports above 1024 towards us; check that its firmware boots {via}",
    ),
    Diagnosis(
        "slow-port", late_first_packet,
        "its first packet came minutes after power-on: the switch port forwards late (STP), or its memory test is long",
        "set the switch port to portfast/edge; otherwise raise the time limit",
    ),
    Diagnosis(
        "loader-loop", loops, "it fetches its loader again and again: the loader crashes or the machine restarts",
        "try another loader for it (`loader` in the subnet's settings), and look at its console",
    ),
    Diagnosis(
        "secure-boot", secure_boot, "its firmware has Secure Boot on and refused the loader",
        "install signed loaders (`provisionctl loaders list`), or switch Secure Boot off",
    ),
    Diagnosis(
        "artifact-missing", line("http.script.missing", "", *TO_SYSTEM, until=("http.script",)),
        "what it is to boot is not complete on the server",
        "run the command that the line names",
    ),
    Diagnosis(
        "script-refused", line("http.script.refused", "", "wait.script", until=("http.script",)),
        "it asks for its boot script from an address that it holds no lease for",
        "look for a second DHCP server, or an address that was set by hand",
    ),
    Diagnosis(
        "no-http", loader_no_address,
        "its loader has an address but fetched no script: TCP port {port} is filtered, or it cannot use HTTP",
        "open the HTTP port towards us; use a loader that has HTTP",
    ),
    Diagnosis(
        "loader-dead", loader_no_script,
        "it fetched its loader, and then nothing: Secure Boot refused it, or it is for another architecture",
        "compare its architecture and Secure Boot setting with the loader that the trace names",
    ),
    Diagnosis(
        "fetch-broken", fetch_broken,
        "it stopped reading kernel or ramdisk in the middle",
        "look for loss on its link; the loader tries again by itself three times",
    ),
    Diagnosis(
        "kernel-panic", console("kernel-panic", *TO_SYSTEM, *AT_WORK, *FROM_DISK),
        "its kernel panicked", "the console lines say where; try another kernel or kernel arguments",
    ),
    Diagnosis(
        "out-of-memory", console("out-of-memory", *TO_SYSTEM, *AT_WORK),
        "its memory is too small for what it boots", "give it more memory, or boot a smaller system",
    ),
    Diagnosis(
        "kernel-not-fetched", kernel_not_fetched, "it has its boot script but fetched no kernel",
        "look at its console: the loader says what it could not do",
    ),
    Diagnosis(
        "no-driver", no_driver,
        "the discovery system started but never asked for an address: it has no driver for this network card",
        "use the kernel with all drivers: `provisionctl images build discovery --kernel generic`",
    ),
    Diagnosis(
        "agent-unreachable", agent_cannot_reach,
        "the discovery system has an address but cannot report to us", "open TCP port {port} from its network to us",
    ),
    Diagnosis(
        "image-damaged", job(r"wrong hash"),
        "what was written is not what the catalogue promises", "`provisionctl artifacts verify`, then fetch it again",
    ),
    Diagnosis(
        "disk-too-small",
        job(r"(/dev/|disk).*\b(is|are) too small|larger than the disk|(/dev/(?!shm)|/target|/mnt)\S*.*no space left"),
        "its disk is too small for what is to be installed", "choose another disk or profile, or a smaller image",
    ),
    Diagnosis(
        "no-disk", job(r"no (suitable )?disk( drive)?s? (was |were )?(found|detected)|disk .* is not in this machine"),
        "it has no disk that the profile asks for", "compare `provisionctl show {name}` with the profile",
    ),
    Diagnosis(
        "disk-error", job(r"I/O error|Input/output error|write errors?|medium error"),
        "its disk reports errors", "replace the disk",
    ),
    Diagnosis(
        "expired",
        job(r"(\bkey|signature|release file|certificate|valid-until)\b.*"
            r"((?<!timeout )(?<!limit )\bexpired|not (yet valid|valid yet))|EXPKEYSIG"),
        "something that it fetches has expired, or its clock is wrong",
        "check the machine's clock, and fetch the artefact or mirror index anew",
    ),
    Diagnosis(
        "mirror",
        job(r"\bE: (failed to fetch|failed getting release|couldn't download)|failed to download (metadata|packages)"
            r"|hash sum mismatch|repomd\.xml|(/dists/|/pool/|\.deb\b|\.rpm\b).*\b404\b"
            r"|unable to connect to \S+:https?\b|could not resolve (host\b|'|https?:)"),
        "it cannot fetch packages from its mirror", "check the mirror parameter and that the machine reaches it",
    ),
    Diagnosis(
        "partitioning-stuck", stuck_at("partition"), "its installer hangs while partitioning",
        "old RAID or LVM on the disks is the usual reason: `provisionctl release {name}` erases them",
    ),
    Diagnosis(
        "agent-gone", agent_gone, "it went silent before its job was done: the power was lost, or the system hangs",
        "look at its power and console; `provisionctl cancel {name}`, then boot it again",
    ),
    Diagnosis(
        "grub-rescue", console("grub-rescue", *FROM_DISK),
        "the boot loader on its disk does not find its files", "install it again; check which disk is first",
    ),
    Diagnosis(
        "no-bootable-disk", console("no-bootable-disk", *FROM_DISK),
        "its firmware finds nothing to start on its disk", "check the boot order, and BIOS against UEFI mode",
    ),
    Diagnosis(
        "root-not-found", console("root-not-found", *FROM_DISK),
        "the installed kernel does not find its root file system", "check that the image has a driver for its disks",
    ),
    Diagnosis(
        "netboots-again", netboots_again,
        "it is installed, but asks the network again instead of starting from its disk",
        "put the disk first in its boot order; its BMC may have ignored the order to do so",
    ),
    Diagnosis(
        "system-silent", system_silent, "the installed system has an address but does not report",
        "open TCP port {port} from its network to us; look at its console",
    ),
    Diagnosis(
        "nothing-from-disk", nothing_from_disk, "nothing was heard of it since it was told to boot its disk",
        "look at its console; its network may be configured for another port",
    ),
)  # fmt: skip
