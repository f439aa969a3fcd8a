"""The command `usage-ledger`; `cli.main.main` is where it starts."""

__all__: list[str] = []
