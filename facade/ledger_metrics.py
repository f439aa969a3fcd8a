"""What a ledger tells Prometheus of its log, its projections and its counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ledger.figures import BillingFigures, Figures, Standing
from ledger.shards import Shard


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"usage_ledger_{name}", text, labels=labels)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"usage_ledger_{name}", text, labels=labels)


class LedgerCollector(Collector):
    """Reads figures when it is asked, no more often than they allow."""

    def __init__(self, figures: Figures) -> None:
        """Tell these figures."""
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Give the figures as they are now; those that cannot be read are left out."""
        standing = [(shard, self._figures.standing(shard)) for shard in self._figures.shards]
        yield from _logs(standing)
        yield from _trees(standing)
        yield from _writers(self._figures.shards)
        yield from self._sums()
        yield from _billing(self._figures.billing())

    def _sums(self) -> Iterable[Metric]:
        labels = ("source", "topic", "topic_id", "partition")
        received = _counter("events_received", "Events that came in, by where from.", *labels)
        recorded = _counter(
            "events_recorded", "Events that were new and are in the log, by where from.", *labels
        )
        repeated = _counter(
            "events_repeated", "Events that said what was known, by where from.", *labels
        )
        rejected = _gauge(
            "events_rejected",
            "Events that were rejected and not accepted later, by where from.",
            *labels,
        )
        letters = _gauge("dead_letters", "Rejected events that are kept.")
        sums = self._figures.sums()
        if sums is not None:
            for source, counts in sums.by_source.items():
                received.add_metric(source, counts.received)
                recorded.add_metric(source, counts.recorded)
                repeated.add_metric(source, counts.repeated)
                rejected.add_metric(source, counts.rejected)
            letters.add_metric((), sums.dead_letters)
        return received, recorded, repeated, rejected, letters


def _logs(standing: Iterable[tuple[Shard, Standing | None]]) -> Iterable[Metric]:
    readable = _gauge("store_readable", "1 while the shard's store can be read, else 0.", "shard")
    head = _gauge("log_head_position", "Position of the newest event of the log.", "shard")
    position = _gauge(
        "projection_position", "Up to where the projection has folded.", "shard", "projection"
    )
    lag = _gauge(
        "projection_lag_events",
        "Events of the log that the projection has yet to fold.",
        *("shard", "projection"),
    )
    paused = _gauge(
        "projection_paused",
        "1 while the projection stands still at an event that it cannot fold, else 0.",
        *("shard", "projection"),
    )
    tail = _gauge(
        "tail_position", "Up to where a follower of the log has gone on.", "shard", "tail"
    )
    tail_lag = _gauge(
        "tail_lag_events", "Events of the log that a follower has yet to take.", "shard", "tail"
    )
    for shard, found in standing:
        number = str(shard.number)
        readable.add_metric([number], float(found is not None))
        if found is None:
            continue
        progress = found.progress
        head.add_metric([number], progress.head)
        for name, at in progress.standing.items():
            position.add_metric([number, name], at)
            lag.add_metric([number, name], max(progress.head - at, 0))
            paused.add_metric([number, name], float(name in progress.paused))
        for name, at in found.tails.items():
            tail.add_metric([number, name], at)
            # Dead letters are numbered by themselves, not by the log.
            if name != "dead-letters":
                tail_lag.add_metric([number, name], max(progress.head - at, 0))
    return readable, head, position, lag, paused, tail, tail_lag


def _trees(standing: Iterable[tuple[Shard, Standing | None]]) -> Iterable[Metric]:
    size = _gauge("tree_size", "Events in the shard's tree.", "shard")
    broken = _gauge(
        "tree_broken", "1 while the tree is known not to fit its log or its heads, else 0.", "shard"
    )
    covered = _gauge("tree_head_size", "Events that the newest signed head covers.", "shard")
    signed = _gauge(
        "tree_head_signed_timestamp_seconds", "When the newest head was signed.", "shard"
    )
    held = _gauge("heads_held", "1 while the last try to sign heads has failed, else 0.")
    for shard, found in standing:
        if found is None:
            continue
        number = str(shard.number)
        size.add_metric([number], found.tree.size)
        broken.add_metric([number], float(bool(found.tree.fault)))
        if found.newest_head is not None:
            covered.add_metric([number], found.newest_head.size)
            signed.add_metric([number], found.newest_head.signed_at / 1_000)
        if shard.number == 0:  # jobs are kept there
            held.add_metric([], float(found.heads_held))
    return size, broken, covered, signed, held


def _writers(shards: Iterable[Shard]) -> Iterable[Metric]:
    queue = _gauge(
        "writer_queue_length",
        "Commands and batches of events of this process that wait for their transaction.",
        *("shard", "queue"),
    )
    refused = _gauge(
        "writes_refused", "1 while nothing can be stored in the shard, else 0.", "shard"
    )
    for shard in shards:
        number = str(shard.number)
        commands, batches = shard.writer.waiting
        queue.add_metric([number, "commands"], commands)
        queue.add_metric([number, "events"], batches)
        refused.add_metric([number], float(bool(shard.refused)))
    return queue, refused


def _billing(figures: BillingFigures | None) -> Iterable[Metric]:
    trouble = _gauge(
        "billing_payers_in_trouble", "Payers of whom the last run of billing failed.", "shard"
    )
    waiting = _gauge(
        "billing_reports_waiting", "Usage reports that Stripe is not known to have.", "shard"
    )
    credits = _gauge(
        "billing_credits_waiting",
        "Credits of the usage reports that Stripe is not known to have.",
        "shard",
    )
    refused = _gauge(
        "billing_reports_refused",
        "Usage reports that Stripe refused; nothing more of their payers is reported.",
        "shard",
    )
    for shard, tallies in figures.by_shard.items() if figures is not None else ():
        number = [str(shard)]
        trouble.add_metric(number, tallies.in_trouble)
        waiting.add_metric(number, tallies.reports_waiting)
        credits.add_metric(number, tallies.credits_waiting)
        refused.add_metric(number, tallies.reports_refused)
    return trouble, waiting, credits, refused, *_runs(figures), *_webhooks(figures)


def _runs(figures: BillingFigures | None) -> Iterable[Metric]:
    payers = _gauge(
        "billing_last_run_payers", "Payers of the last run of billing, by how it went.", "outcome"
    )
    ended = _gauge(
        "billing_last_run_timestamp_seconds", "When the last run of billing ended, since 1970."
    )
    succeeded = _gauge(
        "billing_last_success_timestamp_seconds",
        "When the last run of billing ended that did not fail as a whole, since 1970.",
    )
    run = figures.last_run if figures is not None else None
    if run is not None:
        payers.add_metric(["done"], run.done)
        payers.add_metric(["failed"], run.failed)
        ended.add_metric((), run.ended_at / 1_000)
        if run.succeeded_at:
            succeeded.add_metric((), run.succeeded_at / 1_000)
    return payers, ended, succeeded


def _webhooks(figures: BillingFigures | None) -> Iterable[Metric]:
    waiting = _gauge("webhooks_waiting", "Webhooks of Stripe that wait to be done.")
    failing = _gauge("webhooks_failing", "Webhooks that wait and were tried in vain.")
    given_up = _gauge("webhooks_given_up", "Webhooks that were given up.")
    oldest = _gauge(
        "webhooks_oldest_waiting_timestamp_seconds",
        "When the webhook came that waits longest, since 1970; none while none waits.",
    )
    if figures is not None:
        told = figures.webhooks
        waiting.add_metric((), told.waiting)
        failing.add_metric((), told.failing)
        given_up.add_metric((), told.given_up)
        if told.oldest_waiting is not None:
            oldest.add_metric((), told.oldest_waiting / 1_000)
    return waiting, failing, given_up, oldest
