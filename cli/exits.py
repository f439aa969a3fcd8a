"""How a command ends: its exit code, and the one sentence that says why it failed."""

OK = 0
# Failed, or not finished.
FAILED = 1
# The command line or a setting is wrong.
USAGE = 2
# It ran to its end, but events were rejected, a law is breached or a number differs.
REJECTED = 3
# No service answers, or it cannot answer now.
UNREACHABLE = 4

EXPLAINED = """\b
Exit codes:
  0  done
  1  failed, or not finished
  2  the command line or a setting is wrong
  3  done, but events were rejected, a law is breached or a number differs
  4  no service answers at the target, or it cannot answer now
"""


class CommandFailed(Exception):
    """Ends the command: the sentence goes to standard error, `exit_code` to the shell."""

    def __init__(self, sentence: str, *, exit_code: int = FAILED) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code
