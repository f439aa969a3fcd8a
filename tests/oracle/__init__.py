"""The independent computation that judges the product: see README.md."""

from ._cycles import CostCenter, InstanceLine, InvoiceDraft, Line, VoidedNotes
from ._entries import Entry
from ._facts import Strategy
from ._intake import DeadLetter, Receipt
from ._listing import UsagePage
from ._pricing import DEFAULT_RATES
from ._times import instant, text_of
from .model import Oracle, Outcome, called_name, published_name
from .refused import CallError

__all__ = [
    "DEFAULT_RATES",
    "CallError",
    "CostCenter",
    "DeadLetter",
    "Entry",
    "InstanceLine",
    "InvoiceDraft",
    "Line",
    "Oracle",
    "Outcome",
    "Receipt",
    "Strategy",
    "UsagePage",
    "VoidedNotes",
    "called_name",
    "instant",
    "published_name",
    "text_of",
]
