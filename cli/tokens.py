"""`usage-ledger token new`."""

import sys
from collections.abc import Sequence

from cli.exits import OK, USAGE, CommandFailed
from cli.json_form import encode
from facade import tokens


def new_token(name: str, roles: Sequence[str], *, as_json: bool) -> int:
    """Makes a token and prints it, and its entry for the tokens file."""
    try:
        tokens.check_name(name)
        tokens.roles_of(roles)
    except ValueError as error:
        raise CommandFailed(f"{error}.", exit_code=USAGE) from None
    token = tokens.new_token()
    entry = tokens.entry_of(token, name, roles)
    if as_json:
        answer = {
            "token": token,
            "name": name,
            "roles": list(roles),
            "sha256": tokens.digest_of(token).hex(),
            "entry": entry,
        }
        sys.stdout.write(f"{encode(answer, indent=2)}\n")
    else:
        sys.stdout.write(
            f"The token, shown this once:\n\n  {token}\n\n"
            f"Its entry for the file that auth.tokens_file names:\n\n{entry}"
        )
    return OK
