"""Speaking TLS with a hub whose certificate comes from an authority of one's own, and what goes wrong in it."""

import ssl
from pathlib import Path
from typing import Final

from ledger.errors import ConfigError

# OpenSSL's X509_V_ERR_*, `man 3 X509_STORE_CTX_get_error`.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_UNKNOWN_ISSUER: Final = frozenset({2, 18, 19, 20, 21, 24})
_OTHER_NAME: Final = frozenset({62, 64})

_ASKS_FOR_ONE: Final = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "HANDSHAKE_FAILURE", "UNKNOWN_CA")
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF_WHILE_READING")


def trusting(
    section: str, ca_file: Path | None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext | None:
    """Return how to speak TLS where something of it is configured; None leaves it to the system's authorities.

    Raises: ConfigError: a file cannot be read, or is not what it should be.
    """
    if ca_file is None and certificate is None and key is None:
        return None
    try:
        found = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(f"{section}.ca_file", ca_file, error, "certificates in PEM") from None
    if certificate is None and key is not None:
        raise ConfigError(
            f"{section}.tls_key: found {key} without a certificate", hint=f"set {section}.tls_certificate"
        )
    if certificate is not None:
        present(found, section, certificate, key)
    return found


def authorities(context: ssl.SSLContext, where: str, path: Path) -> None:
    """Load whose certificates are believed.

    Raises: ConfigError: the file cannot be read, or holds none.
    """
    try:
        context.load_verify_locations(path)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(where, path, error, "certificates in PEM") from None


def present(context: ssl.SSLContext, section: str, certificate: Path, key: Path | None) -> None:
    """Load what one shows of oneself.

    Raises: ConfigError: a file cannot be read, or the key is another certificate's.
    """
    # A key with a pass phrase would ask at the terminal: a service has none.
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        where = f"{section}.tls_certificate"
        expected = "a certificate in PEM and its own key without a pass phrase"
        raise _unusable(where, f"{certificate} and {key}" if key else certificate, error, expected) from None


def _unusable(where: str, found: object, error: OSError, expected: str) -> ConfigError:
    said = error.strerror if not isinstance(error, ssl.SSLError) else error.reason or str(error)
    return ConfigError(f"{where}: found {found}: {said or error}, expected {expected}", hint="see that it may be read")


def trouble(error: BaseException) -> tuple[str, str] | None:
    """Return what is wrong with a hub's TLS, and what to do about it; None where an error is of another kind."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, ssl.SSLError):
        found = found.__cause__ or found.__context__
    if found is None:
        return None
    if isinstance(found, ssl.SSLCertVerificationError):
        return f"TLS: {found.verify_message}", _verification(found.verify_code)
    reason = found.reason or str(found)
    if any(each in reason for each in _ASKS_FOR_ONE):
        return (
            f"TLS: {reason}",
            "the other side wants a certificate of this node: see agent.tls_certificate",
        )
    if any(each in reason for each in _NO_TLS):
        return f"TLS: {reason}", "what answers there speaks no TLS: see agent.hub, https:// or http://"
    if isinstance(found, ssl.SSLEOFError):
        # A hub that wants a certificate says so when the handshake is over here: its end may come before its word.
        advice = "the other side has hung up: where it wants a certificate of this node, see agent.tls_certificate"
        return f"TLS: {reason}", f"{advice}; else agent.hub, and what stands before the hub"
    return f"TLS: {reason}", "see agent.hub, and what stands before the hub"


def _verification(code: int) -> str:
    if code == _EXPIRED:
        return "the hub's certificate has ended: renew it there (hub.tls_certificate) and restart what serves it"
    if code == _NOT_YET_VALID:
        return "the hub's certificate begins later: set the clock of this node, or of what made the certificate"
    if code in _UNKNOWN_ISSUER:
        return "no authority that this node trusts has signed the hub's certificate: set agent.ca_file to yours"
    if code in _OTHER_NAME:
        return "the hub's certificate is for another name: put a name that stands in it into agent.hub"
    return "see the hub's certificate (hub.tls_certificate) and agent.ca_file"
