"""Which of PostgreSQL's errors pass or are ended by an operator, and which are mistakes of ours."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from persistence.postgres.trouble import is_trouble

TROUBLE = {
    "08006": "connection failure",
    "25006": "read-only transaction: it became a standby",
    "25P03": "idle in a transaction for too long",
    "28P01": "the password was changed",
    "3D000": "the database is gone",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "53100": "disk full",
    "53200": "out of memory",
    "53300": "too many connections",
    "55P03": "a lock not given in time",
    "57014": "statement timeout",
    "57P01": "shutting down",
    "57P03": "starting up",
    "58030": "input and output error",
    "XX001": "damaged page",
}
MISTAKES = {
    "22003": "a number too large",
    "22021": "text that is not UTF-8",
    "23502": "null where none may be",
    "23505": "a row that is there already",
    "42601": "syntax",
    "42703": "no such column",
    "42P01": "no such table",
    "0A000": "not supported",
}


class TestErrorsOfTheServer:
    @pytest.mark.parametrize("state", TROUBLE)
    def test_that_pass(self, state: str) -> None:
        assert is_trouble(errors.lookup(state)(TROUBLE[state]))

    @pytest.mark.parametrize("state", MISTAKES)
    def test_that_are_ours(self, state: str) -> None:
        assert not is_trouble(errors.lookup(state)(MISTAKES[state]))


class TestErrorsOfTheClient:
    def test_of_a_lost_connection_pass(self) -> None:
        assert is_trouble(psycopg.OperationalError("the connection is closed"))
        assert is_trouble(errors.ConnectionTimeout("nobody answers"))

    @pytest.mark.parametrize(
        "error",
        [
            psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"),
            psycopg.InterfaceError("misused"),
            psycopg.ProgrammingError("misused"),
            ValueError("ours"),
            KeyboardInterrupt(),
        ],
    )
    def test_of_wrong_values_and_uses_are_ours(self, error: BaseException) -> None:
        assert not is_trouble(error)
