"""What the oracle raises where the contract answers a call with an error."""


class CallError(Exception):
    """A gRPC status code by name and the field at fault."""

    def __init__(self, code: str, field: str) -> None:
        super().__init__(f"{code}: {field}")
        self.code = code
        self.field = field
