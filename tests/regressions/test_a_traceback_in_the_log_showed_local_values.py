"""A traceback in the log as text came with every local variable, secrets included."""

import logging

import pytest

from ledger.settings import LogSettings
from ledger.telemetry import configure_logging


def fail_with(secret: str) -> None:
    raise RuntimeError(f"it failed with {len(secret)} letters")


@pytest.mark.parametrize("format_", ["text", "json"])
def test_a_traceback_names_places_and_no_values(
    capsys: pytest.CaptureFixture[str], format_: str
) -> None:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    configure_logging(LogSettings.model_validate({"format": format_}))
    try:
        fail_with("hunter2-hunter2")
    except RuntimeError:
        logging.getLogger("ledger").exception("something went wrong")
    finally:
        root.handlers = before
        root.setLevel(level)
    told = capsys.readouterr().err
    assert "RuntimeError: it failed with 15 letters" in told
    assert "fail_with" in told
    # Once, as the source line of the call; not a second time as the value of a variable.
    assert 1 == told.count("hunter2-hunter2")
