"""`python -m tests.stripe_double --listen 127.0.0.1:PORT`: the double, served on loopback."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import socket
import sys

import uvicorn

from tests.stripe_double.asgi import asgi_app
from tests.stripe_double.double import SECRET_KEY, START, WEBHOOK_SECRET, StripeDouble


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not ipaddress.ip_address(host).is_loopback:
        raise argparse.ArgumentTypeError(f"{host} is not on loopback, and the double is open")
    return host, int(port)


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out what the server says of every answer that a fault loses."""
    return "without completing response" not in record.getMessage()


def main() -> None:
    """Serve until interrupted; the first line of output names the address."""
    parser = argparse.ArgumentParser(prog="stripe_double", description=__doc__)
    parser.add_argument("--listen", type=_address, default=("127.0.0.1", 0), metavar="HOST:PORT")
    parser.add_argument("--webhook", metavar="URL", help="where webhooks are POSTed")
    parser.add_argument("--webhook-secret", default=WEBHOOK_SECRET)
    parser.add_argument("--start", default=START, help="the time it begins at, RFC 3339")
    parser.add_argument("--secret-key", default=SECRET_KEY)
    parser.add_argument("--seed", default="0")
    parser.add_argument(
        "--sign-by",
        choices=("double", "wall"),
        default="wall",
        help="whose time webhooks are signed with; the SDK refuses old signatures",
    )
    given = parser.parse_args()
    double = StripeDouble(
        start=given.start,
        secret_key=given.secret_key,
        webhook_secret=given.webhook_secret,
        seed=given.seed,
    )
    double.webhooks.signs_by = given.sign_by
    app = asgi_app(double, webhook_url=given.webhook)
    listening = socket.create_server(given.listen)
    host, port = listening.getsockname()[:2]
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    sys.stdout.write(f"double of Stripe on http://{host}:{port}\n")
    sys.stdout.flush()
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on")
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
