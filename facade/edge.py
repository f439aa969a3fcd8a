"""What stands between the network and the parts of a process, whatever role it has."""

from __future__ import annotations

import logging

from facade.access import Access
from facade.metrics import CallCounts, InstrumentCollector, RequestCounts, new_registry
from facade.tls import ServerTls
from ledger.errors import StartRefusedError
from ledger.metrics import Instruments
from ledger.settings import Settings

log = logging.getLogger(__name__)


class Edge:
    """Who may come in and how, and what is counted of it. One for each process."""

    def __init__(
        self,
        settings: Settings,
        instruments: Instruments | None = None,
        *,
        grpc: bool = True,
    ) -> None:
        """Read the files of tokens and certificates; StartRefusedError says what to change.

        `grpc`: whether the process serves it.
        """
        exposed = settings.exposures(grpc=grpc)
        if exposed and not settings.insecure:
            raise StartRefusedError("\n".join(exposed))
        for sentence in exposed:
            log.warning("allowed by insecure: %s", sentence)
        self.settings = settings
        self.instruments = instruments or Instruments()
        self.access = Access(settings)
        self.tls = ServerTls(settings.tls) if settings.tls.cert_file is not None else None
        self.registry = new_registry()
        self.calls = CallCounts(self.registry)
        self.requests = RequestCounts(self.registry)
        self.registry.register(InstrumentCollector(self.instruments))
