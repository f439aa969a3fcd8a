"""The double served over HTTP, as a service in another process would meet it."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import Any, Self

import httpx
import uvicorn

from tests.stripe_double import StripeDouble
from tests.stripe_double.asgi import asgi_app

START_SECONDS_MAX = 20


class ServedDouble:
    """Serves a double on loopback; what happens outside of the API goes through `/_double/`."""

    def __init__(self, double: StripeDouble, *, webhook_url: str | None = None) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        # It says "error" of every answer that a fault loses.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        app = asgi_app(double, webhook_url=webhook_url)
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._client = httpx.Client(base_url=self.url, trust_env=False, timeout=60)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listening]))

    def __enter__(self) -> Self:
        self._thread.start()
        self.ask("GET", "clock")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._server.should_exit = True
        self._thread.join(START_SECONDS_MAX)

    def ask(self, method: str, path: str, /, **given: Any) -> Any:
        """Do something to the account, or ask for something of it."""
        if method == "GET":
            answer = self._client.get(f"/_double/{path}", params=given)
        else:
            answer = self._client.post(f"/_double/{path}", json=given)
        assert answer.is_success, answer.text
        return answer.json()
