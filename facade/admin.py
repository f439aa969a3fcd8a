"""AdminService: what operators change."""

from __future__ import annotations

import logging

from facade.boundary import Calls, Context, author_of, streaming, unary
from facade.publishing import PublishingServicer
from facade.translate import nanoseconds
from ledger.application import Ledger
from ledger.errors import InvalidArgumentError, NotFoundError
from ledger.feeds import parse_source
from ledger.intake import Reject
from usage_ledger.v1 import admin_pb2 as pb
from usage_ledger.v1 import publishing_pb2

RETRIES_MAX = 1_000  # dead letters named in one call
RETRY_PAGE = 500  # dead letters looked up at a time when all are retried

log = logging.getLogger(__name__)


class AdminServicer:
    """Operators' calls."""

    def __init__(self, ledger: Ledger) -> None:
        """Serve a ledger."""
        self._ledger = ledger

    async def end_instance(
        self, request: pb.EndInstanceRequest, context: Context
    ) -> pb.EndInstanceResponse:
        """End a running instance, or correct when one ended."""
        at = nanoseconds(request, "at")
        if at is None:
            raise InvalidArgumentError("at is missing: say when the instance ended")
        await self._ledger.end_instance(
            request.workspace_instance_id,
            at // 1_000_000,
            request.reason,
            author_of(context, self._ledger.operator),
        )
        return pb.EndInstanceResponse()

    async def retry_dead_letters(
        self, request: pb.RetryDeadLettersRequest, context: Context
    ) -> pb.RetryDeadLettersResponse:
        """Try rejected events again, one by one."""
        author = author_of(context, self._ledger.operator)
        if request.all and request.ids:
            raise InvalidArgumentError("ids and all are both given: give one of them")
        if not request.all and not request.ids:
            raise InvalidArgumentError("ids and all are both missing: give one of them")
        if len(request.ids) > RETRIES_MAX:
            raise InvalidArgumentError(f"{len(request.ids)} ids: at most {RETRIES_MAX} in one call")
        response = pb.RetryDeadLettersResponse()
        if request.all:
            await self._retry_all(response, author)
            return response
        for letter_id in request.ids:
            if await self._ledger.dead_letters.find(letter_id) is None:
                raise NotFoundError(f"dead letter {letter_id} is not kept: retried, or never there")
        await self._ledger.dead_letters.begin_retry(request.ids, author)
        for letter_id in request.ids:
            await self._retry(letter_id, response, author)
        return response

    async def _retry_all(self, response: pb.RetryDeadLettersResponse, author: str) -> None:
        # Oldest first would be fairer, but pages go down by id; a letter is tried once in any case.
        letters = self._ledger.dead_letters
        page = await letters.page(before=2**63 - 1, limit=RETRY_PAGE)
        if page:  # what changes nothing is not written down
            await letters.begin_retry((), author)
        while page:
            for letter, _ in page:
                await self._retry(letter.id, response, author)
            page = await letters.page(before=page[-1][0].id, limit=RETRY_PAGE)

    async def _retry(
        self, letter_id: int, response: pb.RetryDeadLettersResponse, author: str
    ) -> None:
        outcome = await self._ledger.dead_letters.retry(letter_id, author)
        if outcome is None:
            return  # somebody else retried it meanwhile
        response.retried += 1
        if isinstance(outcome, Reject):
            response.rejects.append(
                publishing_pb2.Reject(
                    line=outcome.line, reason=outcome.reason, dead_letter_id=outcome.dead_letter_id
                )
            )
        elif outcome:
            response.repeated += 1
        else:
            response.recorded += 1

    async def confirm_reset(
        self, _request: pb.ConfirmResetRequest, context: Context
    ) -> pb.ConfirmResetResponse:
        """Confirm the clock, then reset what is due."""
        author = author_of(context, self._ledger.operator)
        await self._ledger.confirm_clock(author)
        done, failed = await self._ledger.cost_centers.reset_due(author)
        return pb.ConfirmResetResponse(reset=done, failed=failed)

    async def accept_gap(
        self, request: pb.AcceptGapRequest, context: Context
    ) -> pb.AcceptGapResponse:
        """Let a partition go on behind messages that are lost."""
        try:
            source, topic = parse_source(request.source)
        except ValueError as error:
            raise InvalidArgumentError(f"source {error}") from None
        if request.lost_from < 0 or request.go_on_at < 0:
            raise InvalidArgumentError("lost_from and go_on_at must not be negative")
        if request.lost_from == request.go_on_at:
            raise InvalidArgumentError("lost_from and go_on_at are the same: there is no gap")
        author = author_of(context, self._ledger.operator)
        feed = self._ledger.feed(source, topic)
        await feed.accept_gap(lost_from=request.lost_from, go_on_at=request.go_on_at, author=author)
        log.warning(
            "%s accepted a gap: %s goes on at offset %d, not %d",
            author,
            feed.delivery,
            request.go_on_at,
            request.lost_from,
        )
        return pb.AcceptGapResponse()


def handler(servicer: AdminServicer, publishing: PublishingServicer) -> Calls:
    """Give the service's calls."""
    return Calls(
        "usage_ledger.v1.AdminService",
        {
            "EndInstance": unary(pb.EndInstanceRequest, servicer.end_instance),
            "RetryDeadLetters": unary(pb.RetryDeadLettersRequest, servicer.retry_dead_letters),
            "ConfirmReset": unary(pb.ConfirmResetRequest, servicer.confirm_reset),
            "AcceptGap": unary(pb.AcceptGapRequest, servicer.accept_gap),
            "ImportOpeningState": streaming(
                pb.ImportOpeningStateRequest, publishing.import_opening_state
            ),
        },
    )
