"""Everything that a caller can be told went wrong.

LedgerError
├── UnauthenticatedError      it is not known who calls; the text says how to show it
├── PermissionDeniedError     it is known, and they may not; the text names what they lack
├── InvalidArgumentError      a value is not allowed; the text names field, value and what is
├── NotFoundError             what was named does not exist
├── AlreadyExistsError        the name is taken by something else
├── FailedPreconditionError   the ledger is not in a state in which this can be done
├── UnavailableError          cannot be done now; nothing of it stays; try again
├── OutcomeUnknownError       no answer in time; trying again neither loses nor doubles anything
├── TroubleError              another service answered what nobody can work with; operators know
└── StartRefusedError         the service must not start; the text says what to change
"""

from __future__ import annotations


class LedgerError(Exception):
    """Its text is meant for the caller."""


class UnauthenticatedError(LedgerError):
    """It is not known who calls."""


class PermissionDeniedError(LedgerError):
    """Who calls may not do this."""


class InvalidArgumentError(LedgerError):
    """A value is not allowed."""


class NotFoundError(LedgerError):
    """What was named does not exist."""


class AlreadyExistsError(LedgerError):
    """The name is taken by something else."""


class FailedPreconditionError(LedgerError):
    """The ledger is not in a state in which this can be done."""


class UnavailableError(LedgerError):
    """Cannot be done now; nothing of it stays."""


class OutcomeUnknownError(LedgerError):
    """Another service did not answer in time; what it did is found out by trying again."""


class TroubleError(LedgerError):
    """Another service answered what cannot be worked with; the log says more."""


class StartRefusedError(LedgerError):
    """The service must not start."""


StartRefused = StartRefusedError  # the name the command line knows it by
