"""The service's side of TLS, for gRPC and HTTP; certificates are read again when they change.

Both take the newest files at each handshake, so a renewed certificate or another CA for clients
needs no restart. Files that do not fit together leave those before them in force.
"""

from __future__ import annotations

import logging
import ssl
import time
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from ledger.errors import StartRefusedError
from ledger.settings import TlsSettings

LOOK_SECONDS = 1.0  # how often the files are looked at, at most: handshakes may come by hundreds

log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, ...], ...]


class TlsFilesError(ValueError):
    """The files cannot be used; the text says what to change."""


class _Files(NamedTuple):
    """What the files held when they last fitted together."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None


class ServerTls:
    """Reads the files, and gives each listener what it needs of them."""

    def __init__(self, settings: TlsSettings) -> None:
        """Read the files; StartRefusedError says what to change."""
        self._settings = settings
        self._stamp = self._look()
        try:
            self._files, self._context = self._read()
        except TlsFilesError as error:
            raise StartRefusedError(str(error)) from None
        self._next_look = time.monotonic() + LOOK_SECONDS
        self._given: _Files | None = None

    def for_grpc(self) -> grpc.ServerCredentials:
        """Give credentials that ask for the newest certificate at each handshake."""
        self._given = self._files
        return grpc.dynamic_ssl_server_credentials(
            _for_grpc(self._files),
            self._changed_for_grpc,  # type: ignore[arg-type]  # None means: no change
            self._settings.client_ca_file is not None,
        )

    def for_http(self) -> ssl.SSLContext:
        """Give a context that hands each handshake to the newest one.

        A client may come without a certificate here: those who ask for its health have none.
        """
        context = _Newest(ssl.PROTOCOL_TLS_SERVER)
        context.look_at(self)
        return context

    def newest_context(self) -> ssl.SSLContext:
        """Give the context of the files as they are now."""
        self._read_if_changed()
        return self._context

    def _changed_for_grpc(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC on a thread of its own."""
        self._read_if_changed()
        files = self._files
        if files is self._given:
            return None
        self._given = files
        return _for_grpc(files)

    def _read_if_changed(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_SECONDS
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._files, self._context = self._read()
        except TlsFilesError as error:
            log.error("%s; the certificate before stays in use", error)  # noqa: TRY400
        else:
            log.info("the certificate %s was read again", self._settings.cert_file)

    def _look(self) -> Stamp:
        stamps: list[tuple[int, ...]] = []
        for path in (
            self._settings.cert_file,
            self._settings.key_file,
            self._settings.client_ca_file,
        ):
            try:
                status = None if path is None else path.stat()
            except OSError:
                status = None
            stamps.append((status.st_mtime_ns, status.st_size, status.st_ino) if status else ())
        return tuple(stamps)

    def _read(self) -> tuple[_Files, ssl.SSLContext]:
        """Read all files and let OpenSSL judge them: gRPC is silent about what it cannot use."""
        certificate, key, client_ca = (
            self._settings.cert_file,
            self._settings.key_file,
            self._settings.client_ca_file,
        )
        assert certificate is not None
        assert key is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        files = _Files(
            _content("tls.cert_file", certificate),
            _content("tls.key_file", key),
            None if client_ca is None else _content("tls.client_ca_file", client_ca),
        )
        try:
            # An empty password: nobody is there to be asked for one.
            context.load_cert_chain(certificate, key, password="")
        except (ssl.SSLError, OSError, ValueError) as error:
            raise TlsFilesError(
                f"tls.cert_file {certificate} and tls.key_file cannot be used together: "
                f"{_reason(error)}; the first must hold a certificate in PEM, the second its "
                "private key, without a password"
            ) from None
        if client_ca is not None:
            try:
                context.load_verify_locations(client_ca)
            except (ssl.SSLError, OSError) as error:
                raise TlsFilesError(
                    f"tls.client_ca_file {client_ca} cannot be used: {_reason(error)}; it must "
                    "hold certificates in PEM"
                ) from None
            context.verify_mode = ssl.CERT_OPTIONAL
        return files, context


class _Newest(ssl.SSLContext):
    """Stands for a context that is replaced when files change: loaded ones cannot be unloaded."""

    _tls: ServerTls

    def look_at(self, tls: ServerTls) -> None:
        self._tls = tls

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a handshake, as asyncio and uvloop do it, in the newest context."""
        return self._tls.newest_context().wrap_bio(*args, **kwargs)


def _for_grpc(files: _Files) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(files.key, files.certificate)], root_certificates=files.client_ca
    )


def _content(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsFilesError(
            f"{name} names a file that cannot be read: {error.strerror or 'it cannot be opened'}"
        ) from None


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason).replace("_", " ").lower()
