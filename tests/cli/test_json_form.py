"""Answers as JSON: keys and forms that scripts rely on."""

import io
import json

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from cli.json_form import encode, plain, print_listing
from usage.v1 import usage_pb2 as usage
from usage_ledger.v1 import queries_pb2 as queries

TIME = Timestamp(seconds=1_793_520_000, nanos=123_456_789)


class TestPlain:
    def test_an_entry(self) -> None:
        entry = queries.Entry(
            id="e",
            attribution_id="team:t",
            credit_cents=-1005,
            effective_time=TIME,
            kind=queries.ENTRY_KIND_CREDIT_NOTE,
            metadata='{"userId": "u"}',
        )

        expected = (
            '{"id":"e","attribution_id":"team:t","description":"","credits":-10.05,'
            '"credit_cents":-1005,"effective_time":"2026-11-01T08:00:00.123Z",'
            '"kind":"credit_note","workspace_instance_id":"","draft":false,'
            '"metadata":{"userId":"u"}}'
        )
        assert expected == encode(plain(entry))

    def test_credits_on_the_wire_are_exactly_their_cents(self) -> None:
        assert '"credits":0.29' in encode(plain(usage.Usage(credits=0.29)))
        assert '"credits":10.00' in encode(plain(usage.Usage(credits=10)))

    def test_other_cents_stand_beside_credits(self) -> None:
        draft = plain(queries.InvoiceDraft(carried_balance_cents=-5))

        assert -5 == draft["carried_balance_cents"]
        assert "-0.05" == str(draft["carried_balance_credits"])

    def test_what_is_not_set_is_null(self) -> None:
        answer = plain(queries.GetInstanceResponse())

        assert (None, None) == (answer["started_time"], answer["entry"])

    def test_a_strategy_of_zero_is_stripe_and_an_unspecified_kind_is_null(self) -> None:
        assert "stripe" == plain(usage.CostCenter())["billing_strategy"]
        assert None is plain(queries.Entry())["kind"]

    def test_a_number_that_names_nothing_stays_a_number(self) -> None:
        entry = queries.Entry.FromString(bytes([6 << 3, 77]))

        assert 77 == plain(entry)["kind"]

    def test_durations_are_seconds(self) -> None:
        answer = usage.ListUsageResponse(ledger_interval=Duration(seconds=3600))

        assert 3600 == plain(answer)["ledger_interval_seconds"]

    def test_bytes_are_base64_and_text_where_they_are_text(self) -> None:
        text = plain(queries.GetDeadLetterResponse(original=b"{}"))
        binary = plain(queries.GetDeadLetterResponse(original=b"\xff"))

        assert ("e30=", "{}") == (text["original_base64"], text["original_text"])
        assert ("/w==", None) == (binary["original_base64"], binary["original_text"])

    def test_metadata_that_is_no_json_stays_text(self) -> None:
        assert "{oops" == plain(queries.Entry(metadata="{oops"))["metadata"]


class TestListing:
    def test_it_is_one_document_however_many_pages(self) -> None:
        out = io.StringIO()
        pages = [([queries.Balance(attribution_id="a")], "c"), ([], "d")]

        print_listing(out, "balances", pages)

        answer = json.loads(out.getvalue())
        assert "d" == answer["next_cursor"]
        assert ["a"] == [one["attribution_id"] for one in answer["balances"]]

    def test_nothing_is_an_empty_list(self) -> None:
        out = io.StringIO()

        print_listing(out, "balances", [([], "")])

        assert {"balances": [], "next_cursor": ""} == json.loads(out.getvalue())
