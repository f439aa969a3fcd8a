"""How a command shows the service who calls: options that every command with a target has."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from cli.exits import USAGE, CommandFailed

TOKEN_BYTES_MAX = 4096  # of the file; a token has 47 characters

TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        envvar="USAGE_LEDGER_TOKEN_FILE",
        help="The file with the token that the service knows us by.",
    ),
]
TlsCa = Annotated[
    str | None,
    typer.Option(
        "--tls-ca",
        metavar="FILE|system",
        envvar="USAGE_LEDGER_TLS_CA",
        help="Speak TLS; these certificates, or those the system trusts, sign the service's.",
    ),
]
Cert = Annotated[
    Path | None,
    typer.Option(
        "--cert",
        metavar="FILE",
        envvar="USAGE_LEDGER_CERT",
        help="Our certificate, for a service that asks for one.",
    ),
]
Key = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", envvar="USAGE_LEDGER_KEY", help="Its private key."),
]
SendInClear = Annotated[
    bool,
    typer.Option(
        "--insecure", help="Send the token without TLS although other machines are on the way."
    ),
]
# What a command gets beside its own parameters.
_OPTIONS: dict[str, tuple[Any, Any]] = {
    "token_file": (TokenFile, None),
    "tls_ca": (TlsCa, None),
    "cert": (Cert, None),
    "key": (Key, None),
    "insecure": (SendInClear, False),
}


class Credentials(NamedTuple):
    """What was given of them."""

    token_file: Path | None = None
    tls_ca: str | None = None
    cert: Path | None = None
    key: Path | None = None
    insecure: bool = False

    @property
    def wants_tls(self) -> bool:
        return self.tls_ca is not None or self.cert is not None

    def token(self) -> str:
        """The token; nothing without a file."""
        if self.token_file is None:
            return ""
        text = read(self.token_file, "--token-file")[:TOKEN_BYTES_MAX].decode(errors="replace")
        lines = text.split()
        if len(lines) != 1 or not lines[0].isascii():
            raise CommandFailed(
                f"--token-file {self.token_file} must hold one token and nothing else.",
                exit_code=USAGE,
            )
        return lines[0]


_given: ContextVar[Credentials] = ContextVar("credentials")


def given() -> Credentials:
    """What the command that runs was given."""
    return _given.get(Credentials())


@contextmanager
def using(credentials: Credentials) -> Iterator[None]:
    """Gives what runs inside these credentials."""
    before = _given.set(credentials)
    try:
        yield
    finally:
        _given.reset(before)


def read(path: Path, option: str) -> bytes:
    """The content of a file that an option names."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandFailed(
            f"{option} {path} cannot be read: {error.strerror}.", exit_code=USAGE
        ) from None


def add_to_all(app: typer.Typer) -> None:
    """Gives every command that has a target the options for it, so that none is forgotten."""
    for command in app.registered_commands:
        work = command.callback
        if work is not None and "target" in inspect.signature(work).parameters:
            command.callback = _with_options(work)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_to_all(group.typer_instance)


def _with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def run(**arguments: Any) -> Any:
        credentials = Credentials(**{name: arguments.pop(name) for name in _OPTIONS})
        with using(credentials):
            return command(**arguments)

    signature = inspect.signature(command, eval_str=True)
    more = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
        )
        for name, (annotation, default) in _OPTIONS.items()
    ]
    # Typer reads parameters from here.
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), *more]
    )
    run.__annotations__ = {
        **{name: each.annotation for name, each in signature.parameters.items()},
        **{name: annotation for name, (annotation, _) in _OPTIONS.items()},
    }
    return run
