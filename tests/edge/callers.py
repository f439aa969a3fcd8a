"""Tokens and their file, certificates and their authority, and channels that show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import grpc
import trustme

from facade.tokens import entry_of, new_token
from tests.harness import Calls, InProcessService

ROLES = ("publish", "read", "admin", "audit")


class TokensFile:
    """A tokens file with one token for each name, which a test may rewrite."""

    def __init__(self, folder: Path, roles: Mapping[str, Iterable[str]]) -> None:
        """Make a token for each name, with these roles."""
        self.path = folder / "tokens.toml"
        self.tokens = {name: new_token() for name in roles}
        self._entries = {name: entry_of(self.tokens[name], name, roles[name]) for name in roles}
        self._certificates = ""
        self._write()

    def _write(self) -> None:
        self.path.write_text("\n".join(self._entries.values()) + self._certificates)

    def take_out(self, name: str) -> None:
        """Forget a token."""
        del self._entries[name]
        self._write()

    def add_certificate(self, name: str, *roles: str) -> None:
        """Name the holder of a certificate."""
        listed = ", ".join(f'"{role}"' for role in roles)
        self._certificates += f'\n[[certificates]]\nname = "{name}"\nroles = [{listed}]\n'
        self._write()

    def settings(self) -> dict[str, Any]:
        """Give the overrides that make a service read the file."""
        return {"auth": {"tokens_file": str(self.path)}}


class Certificates:
    """An authority, the service's certificate, and the files with both."""

    def __init__(self, folder: Path) -> None:
        """Make them."""
        self.folder = folder
        self.authority = trustme.CA()
        self.clients_authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.clients_ca = folder / "clients-ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.clients_authority.cert_pem.write_to_path(str(self.clients_ca))
        self.renew(self.authority)

    def renew(self, authority: trustme.CA) -> None:
        """Write another certificate of the service, by this authority."""
        issued = authority.issue_cert("127.0.0.1", "localhost")
        chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
        (self.folder / "service.pem").write_bytes(chain)
        (self.folder / "service.key").write_bytes(issued.private_key_pem.bytes())

    def settings(self, *, clients: bool = False) -> dict[str, Any]:
        """Give the overrides that make a service use them; with `clients` it asks for theirs."""
        tls = {
            "cert_file": str(self.folder / "service.pem"),
            "key_file": str(self.folder / "service.key"),
        }
        if clients:
            tls["client_ca_file"] = str(self.clients_ca)
        return {"tls": tls}

    def client(self, *names: str, common_name: str | None = None) -> tuple[bytes, bytes]:
        """Give key and certificate of a client."""
        issued = self.clients_authority.issue_cert(*names, common_name=common_name)
        return issued.private_key_pem.bytes(), b"".join(p.bytes() for p in issued.cert_chain_pems)

    def client_files(self, *names: str) -> tuple[Path, Path]:
        """Give the files with a client's certificate and its key."""
        key, chain = self.client(*names)
        cert_file, key_file = self.folder / "client.pem", self.folder / "client.key"
        cert_file.write_bytes(chain)
        key_file.write_bytes(key)
        return cert_file, key_file

    def channel(self, target: str, client: tuple[bytes, bytes] | None = None) -> grpc.Channel:
        """Open a channel that trusts the authority, and shows a client's certificate."""
        key, chain = client or (None, None)
        credentials = grpc.ssl_channel_credentials(self.ca.read_bytes(), key, chain)
        # A pool of its own, or the handshake of a channel before this one would be used again.
        return grpc.secure_channel(
            target, credentials, options=[("grpc.use_local_subchannel_pool", 1)]
        )


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Give the metadata that shows a token."""
    return (("authorization", f"Bearer {token}"),)


class _WithMetadata(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    def __init__(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self._metadata = metadata

    def _call(self, go_on: Any, details: Any, request: Any) -> Any:
        more = (*(details.metadata or ()), *self._metadata)
        return go_on(details._replace(metadata=more), request)

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return self._call(continuation, details, request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return self._call(continuation, details, request)

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        return self._call(continuation, details, requests)


def calls_with(service: InProcessService, token: str, channel: Any = None) -> Calls:
    """Give a service's calls as the holder of a token makes them."""
    channel = channel or grpc.insecure_channel(service.target)
    return Calls(service.target, grpc.intercept_channel(channel, _WithMetadata(bearer(token))))
