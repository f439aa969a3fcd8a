"""What a user types: names, options and help. The work is done in `cli`'s other modules, which are
imported by the command that runs, so that `--help` answers at once.
"""

__all__: list[str] = []
