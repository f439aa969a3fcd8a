"""What a pack says of itself: how its bytes are read, and how its numbers come about."""

from __future__ import annotations

from typing import Any

import msgspec

from events import type_registry
from ledger.audit.packs.columns import ENTRIES, EVENTS, PRICES, schema_of
from ledger.audit.packs.layout import FORMAT

_RULES = """\
Money is in hundredths of a credit; what is above 0 is owed. Times are UTC.
Runtime is from started to stopping, else to stopped, else to the last reconcile.
It is rounded to whole seconds, half a second up; an end before the start is 0 s.
An instance costs rate * seconds / 60 credits, rounded to hundredths, half away from zero.
What another ledger had charged (topic instance-imported) is taken as it is, until corrected.
A running instance counts if its start was recorded before the last reconcile; there it is dated.
A voided instance or credit note counts nowhere; what is recorded of the instance later begins anew.
carried + period + later = balance, by where entries are dated.
"""


def schema() -> dict[str, Any]:
    """Describe the tables, and the fields of every topic, in the order of the stored bytes."""
    return {
        "format": FORMAT,
        "rules": _RULES.splitlines(),
        "tables": {
            "events": schema_of(EVENTS),
            "entries": schema_of(ENTRIES),
            "prices": schema_of(PRICES),
        },
        "topics": {
            topic: {"version": kind.VERSION, "fields": list(kind.__struct_fields__)}
            for topic, kind in sorted(type_registry.items())
        },
    }


def schema_bytes() -> bytes:
    """Write the description."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n"


README_TEXT = b"""\
# An evidence pack of usage-ledger

What is in here can be checked on a machine that has neither the ledger nor usage-ledger:

    python usage_ledger_verify.py pack THIS_FOLDER --keys audit-keys.json

The verifier and the list of keys come from somebody you trust, not with the pack.

- `manifest.json` names every file with its SHA-256 and its rows, and what the pack is of.
- `shard-*/events.jsonl` are the events with their stored bytes, `proof.bin` what shows that each of
  them is in the log that the head was signed for, `heads.jsonl` the signed heads.
- `entries`, `prices` and `payers.jsonl` follow from the events. `schema.json` says what is what.
- `duckdb < balances.sql`, run in this folder, computes every balance from `events.parquet`.
"""

# One row an instance's life: a void ends one, and only what comes behind the last one counts.
SQL_TEXT = b"""\
-- Balances from the events themselves, by the rules in schema.json. Run it in the pack's folder:
--   duckdb < balances.sql
WITH events AS (
    SELECT *, fields ->> 'payer' AS payer FROM read_parquet('shard-*/events.parquet')
), accrual AS (
    SELECT shard, arg_max(CAST(fields ->> 'instant' AS BIGINT), position) AS instant,
        max(position) AS position
    FROM events WHERE topic = 'usage-reconciled' GROUP BY shard
), voids AS (
    SELECT shard, stream, max(version) AS version FROM events
    WHERE topic = 'instance-voided' GROUP BY shard, stream
), said AS (
    SELECT e.* FROM events e LEFT JOIN voids v USING (shard, stream)
    WHERE e.topic LIKE 'instance-%' AND e.version > coalesce(v.version, 0)
), instances AS (
    SELECT shard, stream, min(payer) AS payer,
        max(CAST(fields ->> 'started_time' AS BIGINT)) AS started,
        max(CAST(fields ->> 'credit_cents' AS BIGINT)) AS charged,
        max(fields ->> 'rate') AS rate,
        max(position) FILTER (topic IN ('instance-started', 'instance-imported')) AS begun,
        -- The last of stopping times and an operator's ends, else the stop.
        coalesce(
            arg_max(CAST(coalesce(fields ->> 'ended_time', fields ->> 'stopping_time') AS BIGINT),
                version),
            max(CAST(fields ->> 'stopped_time' AS BIGINT))
        ) AS ended,
        -- What was imported with its charge keeps it, unless its end was corrected.
        bool_or(topic = 'instance-ended' OR topic = 'instance-stopping'
            AND fields ->> 'corrects' IS NOT NULL) AS corrected
    FROM said GROUP BY shard, stream
), runtimes AS (
    SELECT i.*,
        greatest(coalesce(ended, instant) - started + 500, 0) // 1000 AS seconds,
        CASE rate WHEN '1/6' THEN 5 ELSE
            CAST(CAST(rate AS DECIMAL(18, 10)) * 10000000000 AS HUGEINT) END AS numerator,
        CASE rate WHEN '1/6' THEN 18 ELSE 6000000000 END AS denominator
    FROM instances i LEFT JOIN accrual a USING (shard)
    WHERE charged IS NOT NULL
        OR started IS NOT NULL AND (ended IS NOT NULL OR begun < a.position)
), entries AS (
    SELECT payer, CASE
        WHEN charged IS NOT NULL AND (NOT corrected OR started IS NULL) THEN charged
        ELSE (2 * seconds * numerator + denominator) // (2 * denominator) END AS cents
    FROM runtimes
    UNION ALL
    SELECT payer, CAST(coalesce(fields ->> 'credit_cents', fields ->> 'write_off_cents') AS BIGINT)
    FROM events WHERE topic IN (
        'credit-note-issued', 'entry-imported', 'invoice-settled', 'invoice-corrected',
        'billing-cycle-closed'
    )
    UNION ALL
    SELECT payer, -CAST(fields ->> 'credit_cents' AS BIGINT)
    FROM events WHERE topic = 'credit-note-voided'
)
SELECT concat('team:', payer[1:8], '-', payer[9:12], '-', payer[13:16], '-', payer[17:20], '-',
    payer[21:32]) AS attribution_id, CAST(sum(cents) AS BIGINT) AS balance_cents
FROM entries GROUP BY payer ORDER BY payer;
"""
