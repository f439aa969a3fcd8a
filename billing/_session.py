"""One client of Stripe's library, and the only way through which it is called.

Everything that the library raises comes out as an error of ours, raised outside the handler, so
that no traceback leads back to an object that holds the answer, the headers or the key.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar

import stripe
import stripe._util as library_log
from stripe import StripeClient

from billing._answers import Fields
from billing._failures import failure
from billing._http import HttpxClient
from billing.errors import (
    OK,
    GatewayError,
    StripeAnswerError,
    StripeUnavailableError,
)
from billing.settings import GatewaySettings

# The shapes that `_answers` reads. A newer library may speak a newer one; this is what we tested.
STRIPE_VERSION: Final = "2026-10-28.endive"
# The most that Stripe puts on one page.
PAGE_OBJECTS_MAX: Final = 100

Item = TypeVar("Item", bound=stripe.StripeObject)
Result = TypeVar("Result")
Read = TypeVar("Read")
Pages = stripe.ListObject[Item] | stripe.SearchResultObject[Item]
# Told of each request what it asked, as `customers.create`, and its outcome, as `OK`.
Count = Callable[[str, str], object]


class Session:
    """Calls Stripe; belongs to the event loop in which it is first used, and to no other.

    A request is counted once, however often the library tries it, and a list once, however many
    pages it has. `name` is a constant of ours, so that there are few.
    """

    def __init__(
        self, settings: GatewaySettings, http_client: stripe.HTTPClient | None = None
    ) -> None:
        """Make a client; nothing is sent. Without `http_client` it is one of httpx."""
        silence_library()
        self.count: Count = lambda _name, _outcome: None
        self._settings = settings
        self._http = http_client or HttpxClient(settings.timeout_seconds)
        self._client = StripeClient(
            settings.secret_key.reveal(),
            stripe_version=STRIPE_VERSION,
            base_addresses=_addresses(settings.base_url),
            max_network_retries=settings.retries,
            http_client=self._http,
        )

    @property
    def api(self) -> stripe.V1Services:
        """The calls of the first API."""
        return self._client.v1

    async def read(
        self, name: str, call: Awaitable[stripe.StripeObject], read: Callable[[Fields], Read]
    ) -> Read:
        """Await a call that changes nothing, and read its answer."""
        return await self._counted(name, self._answered(call, _fields_to(read)))

    async def write(
        self,
        name: str,
        call: Awaitable[stripe.StripeObject],
        read: Callable[[Fields], Read],
        *,
        personal: bool = False,
        is_fine: Callable[[GatewayError], bool] = lambda _error: False,
    ) -> Read:
        """Await a call that changes something. `personal`: it holds names or addresses.

        `is_fine`: whether an error says that all is well, which is how it is counted then.
        """
        answered = self._answered(call, _fields_to(read), writes=True, personal=personal)
        return await self._counted(name, answered, is_fine)

    async def pages(
        self, name: str, call: Awaitable[Pages[Item]], read: Callable[[Fields], Read]
    ) -> AsyncIterator[Read]:
        """Read the objects of a list, page after page, each fetched when it is come to."""
        try:
            objects = await self._answered(call, lambda page: page.auto_paging_iter())
            while True:
                one = await self._answered(
                    _next(objects),
                    lambda found: None if found is None else (read(found.to_dict()),),
                )
                if one is None:
                    break
                yield one[0]
        except GatewayError as error:
            self.count(name, error.outcome)
            raise
        except GeneratorExit:  # who asked has seen enough
            self.count(name, OK)
            raise
        self.count(name, OK)

    async def all(
        self, name: str, call: Awaitable[Pages[Item]], read: Callable[[Fields], Read]
    ) -> tuple[Read, ...]:
        """Read a whole list."""
        return tuple([one async for one in self.pages(name, call, read)])

    async def _counted(
        self,
        name: str,
        answered: Awaitable[Read],
        is_fine: Callable[[GatewayError], bool] = lambda _error: False,
    ) -> Read:
        try:
            answer = await answered
        except GatewayError as error:
            self.count(name, OK if is_fine(error) else error.outcome)
            raise
        self.count(name, OK)
        return answer

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close_async()  # type: ignore[no-untyped-call]  # theirs has no types

    async def _answered(
        self,
        call: Awaitable[Result],
        read: Callable[[Result], Read],
        *,
        writes: bool = False,
        personal: bool = False,
    ) -> Read:
        trouble: GatewayError
        try:
            return read(await call)
        except stripe.StripeError as error:
            trouble = failure(
                error,
                writes=writes,
                retries=self._settings.retries,
                personal=personal,
                key=self._settings.secret_key,
            )
        except UnicodeDecodeError:
            # Some proxy's page: the library trips over it before it looks at the status.
            trouble = StripeUnavailableError("Stripe's answer is not UTF-8", outcome_unknown=writes)
        except StripeAnswerError as lacking:
            trouble = StripeAnswerError(str(lacking), outcome_unknown=writes)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            # An answer of another shape than the library knows. The text might show a value.
            trouble = StripeAnswerError(
                f"Stripe's answer cannot be read ({type(error).__name__})", outcome_unknown=writes
            )
        raise trouble


def _fields_to(read: Callable[[Fields], Read]) -> Callable[[stripe.StripeObject], Read]:
    return lambda answer: read(answer.to_dict())


async def _next(objects: AsyncIterator[Item]) -> Item | None:
    return await anext(objects, None)


def _addresses(base_url: str | None) -> Any:
    # All four: whatever is redirected must not find its way to Stripe after all.
    names = ("api", "connect", "files", "meter_events")
    return None if base_url is None else dict.fromkeys(names, base_url)


def silence_library() -> None:
    """Keep the library, and the one below it, from telling: no telemetry, no log of bodies.

    On the level of debugging it logs what it sends and gets, names, addresses and client secrets
    among it, and prints the same if the variable STRIPE_LOG says so. The one below logs a line for
    each request, with its whole address, in which a search has the attribution ID.
    """
    stripe.enable_telemetry = False
    library_log.STRIPE_LOG = None
    for name in ("stripe", "httpx"):
        logging.getLogger(name).addFilter(_is_warning)


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
