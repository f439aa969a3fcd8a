"""Why a session cannot connect: Kafka's client tries for ever, and tells only its log why."""

import logging

_LOGGER = logging.getLogger("kafka")


class Reasons(logging.Handler):
    """Keeps the last reason that one client has logged: it does so in threads of its own name."""

    def __init__(self, client_id: str) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        self._client_id = client_id
        _LOGGER.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Remember an error of the connection, or a topic that is not there."""
        if not (record.threadName or "").startswith(self._client_id):
            return
        errors = [arg for arg in record.args or () if isinstance(arg, BaseException)]
        if errors:
            self.last = str(errors[-1])
        elif record.name == "kafka.cluster":
            self.last = record.getMessage()

    def end(self) -> None:
        """Listen no more."""
        _LOGGER.removeHandler(self)
