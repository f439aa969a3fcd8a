"""A line to a PostgreSQL server that is cut when the client says a certain word."""

from __future__ import annotations

import contextlib
import select
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

CHUNK_BYTES = 65_536


class CutLine:
    """Passes everything on until it is armed and the word goes by.

    Then the word arrives at the server or not, and nothing is answered any more.
    """

    def __init__(self, server: Path, word: str, *, arrives: bool) -> None:
        """Stand before the server whose socket is in this folder."""
        self._server = str(server / ".s.PGSQL.5432")
        self._word = word.encode()
        self._arrives = arrives
        self._armed = threading.Event()
        self._over = threading.Event()
        self._folder = Path(tempfile.mkdtemp(prefix="ledger-cut-"))
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self._folder / ".s.PGSQL.5432"))
        self._listening.listen()
        self._listening.settimeout(0.1)
        self._threads = [threading.Thread(target=self._accept)]

    def url_of(self, url: str) -> str:
        """Give the URL of the same database behind this line."""
        place, _, _ = url.partition("?")
        return f"{place}?host={quote(str(self._folder), safe='')}&port=5432"

    def arm(self) -> None:
        """Cut at the next word."""
        self._armed.set()

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._listening.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listening.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._pass_on, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _pass_on(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with client, server, contextlib.suppress(OSError):
            server.connect(self._server)
            while not self._over.is_set():
                readable, _, _ = select.select([client, server], [], [], 0.1)
                for end in readable:
                    data = end.recv(CHUNK_BYTES)
                    if not data:
                        return
                    if end is client and self._armed.is_set() and self._word in data:
                        if self._arrives:
                            server.sendall(data)
                            server.recv(CHUNK_BYTES)  # it has committed
                        return
                    (server if end is client else client).sendall(data)
