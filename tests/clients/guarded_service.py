"""A service that asks for client certificates and tokens, for clients in other languages."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc

from tests.clients.running_service import running_service
from tests.edge.callers import ROLES, Certificates, TokensFile


class GuardedService(NamedTuple):
    """Where it is, and the options that show who calls."""

    address: str
    tls: tuple[str | Path, ...]
    token: tuple[str | Path, ...]


@contextmanager
def guarded_service(folder: Path) -> Iterator[GuardedService]:
    """Start it, with a token that has every role and a client certificate that has none."""
    tokens = TokensFile(folder, {"all": ROLES})
    token = folder / "all.token"
    token.write_text(tokens.tokens["all"] + "\n")
    certificates = Certificates(folder)
    certificate, key = certificates.client_files("client.example.org")
    config = folder / "usage-ledger.toml"
    config.write_text(
        f'[auth]\ntokens_file = "{tokens.path}"\n[tls]\ncert_file = "service.pem"\n'
        'key_file = "service.key"\nclient_ca_file = "clients-ca.pem"\n'
    )
    ours = grpc.ssl_channel_credentials(
        certificates.ca.read_bytes(), key.read_bytes(), certificate.read_bytes()
    )
    with running_service(folder, "--config", str(config), credentials=ours) as address:
        yield GuardedService(
            address,
            ("--tls-ca", certificates.ca, "--cert", certificate, "--key", key),
            ("--token-file", token),
        )
