"""What became of the last cycle of a subscription that ended, when no webhook told.

A payer who had left was not looked after: its last invoice was never settled, and usage that Stripe
was told to forget waited for an invoice for ever. A report of which nobody knew was given up though
it was on the last invoice.
"""

from __future__ import annotations

from events import SubscriptionEnded, decode
from tests.billing.scene import PAYER, BillingScene, payer_key
from tests.contract.data.scene import note, ran
from usage.v1 import billing_pb2


def used_seven_credits(scene: BillingScene) -> str:
    """Sign up and use 6.01 credits; give the subscription."""
    subscription = scene.sign_up()
    scene.double.advance(days=2)
    start, end = "2026-11-02T00:00:00Z", "2026-11-02T10:01:00Z"
    scene.record(*ran("a", start, end, payer=PAYER, workspaceClass="cent"))
    return subscription


def cancel(scene: BillingScene, subscription: str) -> None:
    """End it, or note that it has ended."""
    request = billing_pb2.CancelSubscriptionRequest(subscription_id=subscription)
    scene.calls.billing.CancelSubscription(request)


class TestALastInvoice:
    def test_of_a_payer_who_has_left_is_settled_without_a_webhook(self) -> None:
        with BillingScene() as scene:
            subscription = used_seven_credits(scene)
            scene.reconcile()
            scene.double.advance(minutes=10)
            cancel(scene, subscription)
            scene.double.advance(hours=2)
            scene.double.faults.add("unreachable", path="/v1/events")  # nor is it listed
            scene.reconcile()
            assert 601 - 700 == scene.cents()

    def test_has_what_was_sent_and_never_answered(self) -> None:
        with BillingScene() as scene:
            subscription = used_seven_credits(scene)
            lost = scene.double.faults.add("answer_lost", path="/v1/billing/meter_events")
            scene.reconcile()
            scene.double.faults.remove(lost)
            scene.double.client().v1.subscriptions.cancel(subscription, {"invoice_now": True})
            cancel(scene, subscription)
            scene.double.advance(hours=2)
            scene.reconcile()
            (books,) = scene.service.ledger.shards[0].queries.reader.books_of(payer_key())
            assert (7, 7, 0) == (
                books.sent_credits,
                books.invoiced_credits,
                books.shortfall_credits,
            )

    def test_tells_of_credits_that_were_to_be_taken_back_last(self) -> None:
        with BillingScene() as scene:
            subscription = used_seven_credits(scene)
            scene.reconcile()
            scene.record(note(3, payer=PAYER))
            lost = scene.double.faults.add("unreachable", path="/v1/billing/*")
            scene.reconcile()  # -3 does not get through
            scene.double.faults.remove(lost)
            scene.double.client().v1.subscriptions.cancel(subscription, {"invoice_now": True})
            cancel(scene, subscription)
            scene.double.advance(hours=2)
            scene.reconcile()
            (books,) = scene.service.ledger.shards[0].queries.reader.books_of(payer_key())
            assert (4, 7, -3) == (
                books.sent_credits,
                books.invoiced_credits,
                books.shortfall_credits,
            )
            scene.double.advance(days=5)
            scene.reconcile()
            assert [] == scene.service.ledger.shards[0].queries.reader.open_reports(subscription)

    def test_that_is_not_made_leaves_no_report_waiting(self) -> None:
        with BillingScene() as scene:
            subscription = used_seven_credits(scene)
            scene.reconcile()
            scene.record(note(7, payer=PAYER))
            lost = scene.double.faults.add("unreachable", path="/v1/billing/*")
            scene.reconcile()  # all of it is to be taken back
            scene.double.faults.remove(lost)
            scene.double.client().v1.subscriptions.cancel(subscription, {"invoice_now": False})
            cancel(scene, subscription)
            scene.double.advance(days=5)
            scene.reconcile()
            assert [] == scene.service.ledger.shards[0].queries.reader.open_reports(subscription)


class TestUsageThatStripeForgot:
    def test_waits_for_no_invoice(self) -> None:
        with BillingScene() as scene:
            subscription = used_seven_credits(scene)
            scene.reconcile()
            scene.double.client().v1.subscriptions.cancel(subscription, {"invoice_now": False})
            cancel(scene, subscription)
            scene.double.advance(days=5)
            scene.reconcile()
            (books,) = scene.service.ledger.shards[0].queries.reader.books_of(payer_key())
            assert (7, 0, 7) == (
                books.sent_credits,
                books.invoiced_credits,
                books.shortfall_credits,
            )


class TestWhatWasSentAfterTheEnd:
    def test_is_no_credit_that_was_billed(self) -> None:
        with BillingScene() as scene:
            subscription = used_seven_credits(scene)
            scene.double.client().v1.subscriptions.cancel(subscription, {"invoice_now": True})
            scene.double.advance(hours=1)
            scene.reconcile()  # nobody has told of the end
            cancel(scene, subscription)
            shard = scene.service.ledger.shards[0]
            ended = ended_events(scene)
            assert [601] == [event.unbilled_cents for event in ended]
            reported = shard.queries.reader.reported(subscription)
            assert reported is not None
            assert (0, 0) == (reported.requested_credits, reported.waiting)


class TestAnOlderInvoice:
    def test_is_settled_although_a_newer_one_was_heard_of_first(self) -> None:
        with BillingScene() as scene:
            used_seven_credits(scene)
            scene.reconcile()
            scene.double.advance_to("2026-12-02T00:00:00Z")
            start, end = "2026-12-01T00:00:00Z", "2026-12-01T10:00:00Z"
            scene.record(*ran("b", start, end, payer=PAYER, workspaceClass="cent"))
            scene.report()
            scene.double.advance_to("2027-01-02T00:00:00Z")
            newer = scene.invoices()[-1]
            scene.finalize(newer.id)
            scene.double.faults.add("unreachable", path="/v1/events")
            scene.reconcile()
            assert 1_201 - 100 * scene.double.invoiced_credits(newer.customer) == scene.cents()


def ended_events(scene: BillingScene) -> list[SubscriptionEnded]:
    """Ends of subscriptions, as they were recorded."""
    log = scene.service.ledger.shards[0].queries.reader.log(after=0, limit=1_000)
    events = [decode(stored.topic, stored.state) for stored in log]
    return [event for event in events if isinstance(event, SubscriptionEnded)]
