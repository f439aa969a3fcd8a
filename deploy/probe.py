#!/opt/usage-ledger/bin/python -EsS
"""Ask the process in this container how it is: `probe healthz` (alive) or `probe readyz` (ready).

Exits 0 when it says well, 1 otherwise, with its answer on standard output. It asks the port of
`USAGE_LEDGER_HTTP__LISTEN` on loopback, for the container is the same, and so it does not look at
the certificate. Standard library without `site`, because it runs every few seconds beside the
service.
"""

import http.client
import os
import sys

# Docker and Kubernetes give up after three.
TIMEOUT_SECONDS = 2.5
ANSWER_BYTES_MAX = 4096


def main() -> int:
    """Exit code."""
    question = sys.argv[1] if len(sys.argv) > 1 else "healthz"
    port = int(os.environ.get("USAGE_LEDGER_HTTP__LISTEN", "127.0.0.1:9002").rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    if os.environ.get("USAGE_LEDGER_TLS__CERT_FILE"):
        # Loaded where it is needed: it takes longer than all the rest.
        import ssl  # noqa: PLC0415

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=TIMEOUT_SECONDS, context=context
        )
    try:
        connection.request("GET", f"/{question}")
        answer = connection.getresponse()
        text = answer.read(ANSWER_BYTES_MAX).decode("utf-8", "replace")
    except OSError as error:
        sys.stdout.write(f"no answer on port {port}: {error}\n")
        return 1
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    return 0 if answer.status == http.HTTPStatus.OK else 1


if __name__ == "__main__":
    sys.exit(main())
