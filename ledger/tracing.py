"""Traces of what a process does, off unless configured: then every function here does nothing.

Like logging, it is set up once for the whole process, so that no part needs to be handed it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ledger.errors import StartRefusedError
from ledger.settings import TracingSettings

Value = str | int | float | bool


class Span(Protocol):
    """Something that takes a while, as it is told to a collector."""

    def set(self, name: str, value: Value) -> None:
        """Say something about it."""

    def fail(self, reason: str) -> None:
        """Say that it failed; nobody says so for us."""


class Linked(Protocol):
    """A piece of work that remembers the span it was asked for in."""

    @property
    def asked_in(self) -> object: ...


class Tracing:
    """Nothing is traced; a subclass does it."""

    is_on = False

    def span(self, name: str, **attributes: Value) -> AbstractContextManager[Span]:
        """Trace the block, below the span that is open here."""
        return _NOTHING

    def serving(
        self, name: str, carrier: Mapping[str, str], **attributes: Value
    ) -> AbstractContextManager[Span]:
        """Trace the answer to a request; `carrier` may name the caller's span (`traceparent`)."""
        return _NOTHING

    def here(self) -> object:
        """Give the span that is open here, for work that another thread does; None without one."""
        return None

    def group(self, works: Sequence[Linked]) -> AbstractContextManager[None]:
        """Trace the block as done for all of `works`, which may grow until it ends."""
        return _NO_GROUP

    def passing(self, failpoint: Callable[[str], None]) -> Callable[[str], None]:
        """Note when a group passes the places with a name; give what to call there instead."""
        return failpoint

    def close(self) -> None:
        """Send what was not sent yet."""


class _NothingSpan:
    def set(self, name: str, value: Value) -> None:
        pass

    def fail(self, reason: str) -> None:
        pass


_NOTHING: AbstractContextManager[Span] = contextlib.nullcontext(_NothingSpan())
_NO_GROUP: AbstractContextManager[None] = contextlib.nullcontext()
_current = Tracing()


def current() -> Tracing:
    """Give the process's tracing."""
    return _current


def configure_tracing(settings: TracingSettings, *, role: str) -> Tracing:
    """Trace from now on as the settings say; StartRefusedError says what is missing.

    `role` is what the process does: `serve`, `intake`, …
    """
    global _current  # noqa: PLW0603  # one for the process, like the root logger
    _current.close()
    _current = Tracing()
    if settings.otlp_endpoint is not None:
        try:
            from ledger._opentelemetry import OpenTelemetry  # noqa: PLC0415  # an extra
        except ImportError:
            raise StartRefusedError(
                "tracing.otlp_endpoint is set, but the packages of OpenTelemetry are not "
                "installed: install usage-ledger[cluster], or remove the setting"
            ) from None
        _current = OpenTelemetry(settings, role=role)
    return _current


def span(name: str, **attributes: Any) -> AbstractContextManager[Span]:
    """Trace the block, below the span that is open here."""
    return _current.span(name, **attributes)
