"""A mail server that really runs: STARTTLS with a certificate of its own, and logins."""
# ruff: noqa: ARG002  the signatures are aiosmtpd's

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.ports import free_port

USER, PASSWORD = "reporter", "correct horse"
REFUSED = "nobody@example.org"


@dataclass
class Inbox:
    """What a mail server took, and how each client logged in."""

    mails: list[tuple[list[str], bytes]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802  aiosmtpd's name
        """Refuse one address."""
        if address == REFUSED:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  aiosmtpd's name
        """Keep a mail."""
        self.mails.append((list(envelope.rcpt_tos), bytes(envelope.content)))
        return "250 taken"

    def login(self, server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
        """Let one user in."""
        known = isinstance(given, LoginPassword) and (given.login, given.password) == (USER.encode(), PASSWORD.encode())
        if known:
            self.logins.append(mechanism)
            return AuthResult(success=True)
        # A failure that says it was handled would get no answer at all: aiosmtpd answers 535 itself.
        return AuthResult(success=False, handled=False)


@dataclass(frozen=True)
class MailServer:
    """A running mail server."""

    port: int
    ca_file: Path
    inbox: Inbox

    def settings(self, **changed: object) -> dict[str, object]:
        """Return the section `mail` that reaches it."""
        return {
            "host": "127.0.0.1", "port": self.port, "ca_file": str(self.ca_file), "user": USER, "password": PASSWORD,
            "sender": "ledger@example.org", **changed,
        }  # fmt: skip


@contextmanager
def running(folder: Path, *, mechanisms: tuple[str, ...] = ("LOGIN", "PLAIN")) -> Iterator[MailServer]:
    """Run a mail server on a free port; it offers some ways to log in."""
    certificate = certified(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    inbox = Inbox()
    port = free_port()
    controller = Controller(
        inbox,
        hostname="127.0.0.1",
        port=port,
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=inbox.login,
        auth_exclude_mechanism=sorted({"LOGIN", "PLAIN"} - set(mechanisms)),
    )
    controller.start()
    try:
        yield MailServer(port, certificate, inbox)
    finally:
        controller.stop()


def certified(folder: Path) -> Path:
    """Return a file with a new key and the certificate that it signs for loopback."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail server of a test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"certificate-{made.serial_number}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path
