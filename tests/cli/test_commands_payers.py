"""What payers owe and why, asked of a real service."""

import uuid

from tests.cli.running import HOUR, NOW, Service, an_hour, new_payer, stamp


class TestBalance:
    def test_many_payers_in_the_order_asked(self, service: Service) -> None:
        rich, none = new_payer(), new_payer()
        service.publish(*an_hour(rich, str(uuid.uuid4())))

        balances = service.ask("balance", none, rich)["balances"]

        assert [(none, 0, 0), (rich, 2000, 20)] == [
            (one["attribution_id"], one["credit_cents"], one["credits"]) for one in balances
        ]
        assert "20.00" in service.run("balance", rich)

    def test_a_malformed_payer_is_a_usage_error(self, service: Service) -> None:
        assert "INVALID_ARGUMENT" in service.run("balance", "somebody", code=2)


class TestUsageList:
    def test_a_page_with_the_sum_over_the_range(self, service: Service) -> None:
        payer, user = new_payer(), str(uuid.uuid4())
        mine, theirs = str(uuid.uuid4()), str(uuid.uuid4())
        service.publish(*an_hour(payer, mine, user=user), *an_hour(payer, theirs))

        everything = service.ask("usage", "list", payer, "--order", "asc", "--per-page", "1")
        of_user = service.ask("usage", "list", payer, "--user", user)
        before = service.ask("usage", "list", payer, "--to", stamp(NOW - 2 * HOUR))

        assert (2, 40) == (everything["pagination"]["total"], everything["credits_used"])
        assert 1 == len(everything["usage_entries"])
        (entry,) = of_user["usage_entries"]
        assert (mine, 20, False) == (
            entry["workspace_instance_id"],
            entry["credits"],
            entry["draft"],
        )
        assert "g1-large" == entry["metadata"]["workspaceClass"]
        assert 0 == before["pagination"]["total"]
        assert 3600 == before["ledger_interval_seconds"]
        assert "Page 1 of 1: 2 instances, 40.00 credits" in service.run("usage", "list", payer)


class TestEntriesList:
    def test_credit_notes_are_there_too_and_pages_follow(self, service: Service) -> None:
        payer = new_payer()
        service.publish(*an_hour(payer, str(uuid.uuid4())))
        service.run("credit-note", "add", payer, "5", "--description", "[bold]sorry")

        first = service.ask("entries", "list", payer, "--page-size", "1")
        rest = service.ask("entries", "list", payer, "--cursor", first["next_cursor"])
        every = service.ask("entries", "list", payer, "--all", "--ascending")

        assert ["credit_note"] == [one["kind"] for one in first["entries"]]
        assert ["workspace_instance"] == [one["kind"] for one in rest["entries"]]
        assert [2000, -500] == [one["credit_cents"] for one in every["entries"]]
        assert "" == every["next_cursor"]
        assert "[bold]sorry" in service.run("entries", "list", payer)


class TestCostCenter:
    def test_the_first_look_opens_it_and_set_keeps_what_is_not_given(
        self, service: Service
    ) -> None:
        payer = new_payer()

        opened = service.ask("cost-center", "get", payer)["cost_center"]
        limited = service.ask("cost-center", "set", payer, "--spending-limit", "70")["cost_center"]
        stripe = service.ask("cost-center", "set", payer, "--strategy", "stripe")["cost_center"]
        limited_again = service.ask("cost-center", "set", payer, "--spending-limit", "90")

        assert (0, "other") == (opened["spending_limit"], opened["billing_strategy"])
        assert (70, "other") == (limited["spending_limit"], limited["billing_strategy"])
        assert (70, "stripe") == (stripe["spending_limit"], stripe["billing_strategy"])
        assert "stripe" == limited_again["cost_center"]["billing_strategy"]
        assert payer in service.run("cost-center", "get", payer)

    def test_the_list_has_every_one_with_its_balance(self, service: Service) -> None:
        payer = new_payer()
        service.run("cost-center", "get", payer)
        service.run("credit-note", "add", payer, "1", "--description", "x")

        centers = service.ask("cost-center", "list", "--all")["cost_centers"]

        (mine,) = [one for one in centers if one["cost_center"]["attribution_id"] == payer]
        assert -100 == mine["balance_cents"]


class TestCreditNote:
    def test_credits_are_given_back_and_negative_ones_are_a_debit(self, service: Service) -> None:
        payer = new_payer()

        service.run("credit-note", "add", payer, "50", "--description", "an outage")
        service.run("credit-note", "add", payer, "-20", "--description", "too much")

        assert -3000 == service.cents(payer)

    def test_the_same_key_counts_once_and_other_content_is_refused(self, service: Service) -> None:
        payer = new_payer()
        note = ("credit-note", "add", payer, "--description", "x", "--idempotency-key", "k")

        service.run(*note, "50")
        service.run(*note, "50")
        told = service.run(*note, "51", code=1)

        assert "ALREADY_EXISTS" in told
        assert -5000 == service.cents(payer)

    def test_a_blank_description_is_a_usage_error(self, service: Service) -> None:
        note = ("credit-note", "add", new_payer(), "1", "--description", " ")

        assert "INVALID_ARGUMENT" in service.run(*note, code=2)


class TestInvoiceDraft:
    def test_its_total_is_the_balance(self, service: Service) -> None:
        payer = new_payer()
        service.publish(*an_hour(payer, str(uuid.uuid4())))
        service.run("credit-note", "add", payer, "5", "--description", "x")

        draft = service.ask("invoice-draft", "show", payer)["invoice_draft"]

        assert (1500, 2000, -500) == (
            draft["total_cents"],
            draft["lines"][0]["credit_cents"],
            draft["credit_note_cents"],
        )
        assert "total = balance" in service.run("invoice-draft", "show", payer)
