"""Keys, seals and ciphers of RMCP+ (IPMI v2.0 sections 13.20 to 13.33). No I/O; random bytes come in as arguments."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from provisioner.errors import WireError
from provisioner.lab.faults import Fault, Faults

BLOCK = 16


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher suite (table 22-20): algorithms by number, the hash behind them, the length of a packet's seal."""

    number: int
    authentication: int
    integrity: int
    confidentiality: int
    digest: str
    seal_bytes: int


SUITE_3 = Suite(3, 1, 1, 1, "sha1", 12)
SUITE_17 = Suite(17, 3, 4, 1, "sha256", 16)
SUITES = (SUITE_3, SUITE_17)


def suites_of(faults: Faults) -> tuple[Suite, ...]:
    """What a board offers."""
    return (SUITE_3,) if faults.on(Fault.SUITE_3_ONLY) else SUITES


@dataclass(frozen=True, slots=True)
class Exchange:
    """What both sides know after RAKP 1 and 2 (section 13.21). Session ids as the four bytes on the wire."""

    suite: Suite
    console_id: bytes
    bmc_id: bytes
    console_random: bytes
    bmc_random: bytes
    guid: bytes
    role: int
    username: bytes
    password: bytes

    def _mac(self, key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, self.suite.digest).digest()

    @property
    def _who(self) -> bytes:
        return bytes((self.role, len(self.username))) + self.username

    def rakp2(self) -> bytes:
        """The key exchange code by which the BMC proves that it knows the password."""
        told = self.console_id + self.bmc_id + self.console_random + self.bmc_random + self.guid + self._who
        return self._mac(self.password, told)

    def rakp3(self) -> bytes:
        """The code by which the console proves the same."""
        return self._mac(self.password, self.bmc_random + self.console_id + self._who)

    def session_key(self) -> bytes:
        """SIK; without a BMC key (Kg) of its own the user's key takes its place."""
        return self._mac(self.password, self.console_random + self.bmc_random + self._who)

    def rakp4(self) -> bytes:
        """The integrity check value that ends the handshake."""
        told = self.console_random + self.bmc_id + self.guid
        return self._mac(self.session_key(), told)[: self.suite.seal_bytes]

    def keys(self) -> Keys:
        """K1 and K2 (section 13.32). The constants have 20 bytes with SHA-256 too: what all clients do."""
        key = self.session_key()
        return Keys(self.suite, self._mac(key, b"\x01" * 20), self._mac(key, b"\x02" * 20)[:BLOCK])


@dataclass(frozen=True, slots=True)
class Keys:
    """What seals and encrypts one session's packets."""

    suite: Suite
    integrity: bytes
    cipher: bytes

    def seal(self, covered: bytes) -> bytes:
        """The AuthCode of a packet; `covered` runs from the authentication type to the next header."""
        return hmac.new(self.integrity, covered, self.suite.digest).digest()[: self.suite.seal_bytes]

    def is_sealed(self, covered: bytes, seal: bytes) -> bool:
        return hmac.compare_digest(self.seal(covered), seal)

    def encrypt(self, payload: bytes, iv: bytes) -> bytes:
        """AES-CBC-128 with the padding 1, 2, 3 ... and its length (section 13.29)."""
        count = -(len(payload) + 1) % BLOCK
        padded = payload + bytes(range(1, count + 1)) + bytes((count,))
        encryptor = Cipher(AES(self.cipher), CBC(iv)).encryptor()
        return iv + encryptor.update(padded) + encryptor.finalize()

    def decrypt(self, data: bytes) -> bytes:
        """The payload of an encrypted packet; raise `WireError`."""
        if len(data) < 2 * BLOCK or len(data) % BLOCK:
            raise WireError(f"{len(data)} encrypted bytes: not whole blocks behind an IV")
        decryptor = Cipher(AES(self.cipher), CBC(data[:BLOCK])).decryptor()
        plain = decryptor.update(data[BLOCK:]) + decryptor.finalize()
        count = plain[-1]
        if count >= BLOCK or plain[-1 - count : -1] != bytes(range(1, count + 1)):
            raise WireError(f"wrong confidentiality padding: length {count}")
        return plain[: -1 - count]
