"""The hub's own TLS: one certificate, its successor as soon as it lies there, and the certificates that agents show."""

import ssl
import threading
from pathlib import Path

from collectors._tls import authorities, present
from ledger.errors import ConfigError
from ledger.log import log
from ledger.sections import HubSettings


def checked(settings: HubSettings) -> "Certificate | None":
    """Return the certificate with which a hub serves; None where it speaks no TLS itself.

    Raises: ConfigError: one file without the other, or files that are not what they should be.
    """
    if settings.tls_certificate is None:
        for name, found in (("tls_key", settings.tls_key), ("client_ca", settings.client_ca)):
            if found is not None:
                message = f"hub.{name}: found {found} without a certificate, expected both"
                raise ConfigError(message, hint="set hub.tls_certificate")
        return None
    return Certificate(settings.tls_certificate, settings.tls_key, settings.client_ca)


class Certificate:
    """A certificate and its key in files, and whose certificates callers may show; renewed ones count at once.

    What is half written, or does not fit, leaves the one before in force. Who shows nothing is served as well: people
    have no certificate. What needs one looks whether it `was_shown` (`app.shown`).
    """

    def __init__(self, path: Path, key: Path | None, client_ca: Path | None = None) -> None:
        self.path = path
        self._key = key
        self._client_ca = client_ca
        self._lock = threading.Lock()
        self._seen = self._stamps()
        self._current = self._loaded()

    def context(self) -> ssl.SSLContext:
        """Return how to serve: each handshake gets the certificate of that moment."""
        outer = self._loaded()
        outer.sni_callback = self._choose
        return outer

    def _choose(self, socket: ssl.SSLObject, name: str | None, outer: ssl.SSLContext) -> None:
        del name, outer
        with self._lock:
            seen = self._stamps()
            if seen != self._seen:
                self._seen = seen
                self._renew()
        socket.context = self._current

    def _renew(self) -> None:
        try:
            self._current = self._loaded()
        except ConfigError as error:
            log.warning("certificate was not taken; the one before stays", error=error.message, hint=error.hint)
        else:
            log.info("another certificate is served", certificate=str(self.path))

    def _loaded(self) -> ssl.SSLContext:
        found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        found.minimum_version = ssl.TLSVersion.TLSv1_2
        found.set_alpn_protocols(["http/1.1"])
        present(found, "hub", self.path, self._key)
        if self._client_ca is not None:
            authorities(found, "hub.client_ca", self._client_ca)
            found.verify_mode = ssl.CERT_OPTIONAL
        return found

    def _stamps(self) -> tuple[int, ...]:
        files = [each for each in (self.path, self._key, self._client_ca) if each is not None]
        return tuple(each.stat().st_mtime_ns if each.exists() else 0 for each in files)


def pinned(certificate: str) -> ssl.SSLContext | bool:
    """Return how a command on the hub's machine checks the hub: by the very certificate that it serves.

    Raises: ConfigError: the file cannot be read.
    """
    if not certificate:
        return True
    try:
        found = ssl.create_default_context(cafile=certificate)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{certificate}: the hub's certificate: {error}, expected to read it", hint="run this as the hub's user"
        ) from None
    # It is asked under an address of this machine, which hardly stands in the certificate.
    found.check_hostname = False
    found.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return found
