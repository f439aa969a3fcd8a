"""Looking back, on a real service."""

import uuid

from tests.cli.running import DAY, HOUR, NOW, Service, an_hour, event, new_payer, stamp


class TestBalance:
    def test_as_of_a_time_what_ran_counts_to_then(self, service: Service) -> None:
        payer = new_payer()
        service.publish(*an_hour(payer, str(uuid.uuid4())))

        half = ("--as-of", stamp(NOW - 3 * HOUR + HOUR / 2))
        (balance,) = service.ask("balance", payer, *half)["balances"]

        assert (payer, 1000) == (balance["attribution_id"], balance["credit_cents"])
        assert balance["moment"]["personal_data_as_of_now"]
        told = service.run("balance", payer, *half)
        assert "10.00" in told
        assert "as of " in told

    def test_as_known_at_a_position_or_a_time(self, service: Service) -> None:
        payer = new_payer()
        known = service.ask("balance", payer, "--known-at", stamp(NOW - DAY))["balances"][0]
        service.publish(*an_hour(payer, str(uuid.uuid4())))
        position = str(service.ask("balance", payer, "--as-of", stamp(NOW))["balances"][0][
            "moment"
        ]["position"]["number"])  # fmt: skip

        assert 0 == known["credit_cents"]
        for asked, cents in ((position, 2000), (f"0/{position}", 2000), ("0", 0)):
            (balance,) = service.ask("balance", payer, "--known-at", asked)["balances"]
            assert cents == balance["credit_cents"]

    def test_neither_a_time_nor_a_position_is_a_usage_error(self, service: Service) -> None:
        for wrong in ("yesterday", "-1", "1/", "1/2/3", "2026-11-01T08:00:00"):
            told = service.run("balance", new_payer(), "--known-at", wrong, code=2)
            assert "position of the log" in told or "No such option" in told

    def test_the_future_is_a_usage_error(self, service: Service) -> None:
        told = service.run("balance", new_payer(), "--known-at", stamp(NOW + DAY), code=2)
        assert "lies in the future" in told


class TestUsageList:
    def test_pages_by_cursor(self, service: Service) -> None:
        payer = new_payer()
        for _ in range(3):
            service.publish(*an_hour(payer, str(uuid.uuid4())))
        asked = ("usage", "list", payer, "--as-of", stamp(NOW), "--per-page", "2")

        first = service.ask(*asked)
        rest = service.ask(*asked, "--cursor", first["next_cursor"])

        assert (3, 6000, 2) == (first["total"], first["credit_cents"], len(first["entries"]))
        assert (1, "") == (len(rest["entries"]), rest["next_cursor"])
        told = service.run(*asked)
        assert "3 instances, 60.00 credits in all." in told
        assert "Names, texts and links are those of today." in told
        assert "by --cursor" in service.run(*asked, "--page", "2", code=2)
        plain = ("usage", "list", payer, "--cursor", first["next_cursor"])
        assert "--as-of" in service.run(*plain, code=2)


class TestCostCenterGet:
    def test_opens_nothing(self, service: Service) -> None:
        payer = new_payer()
        asked = ("cost-center", "get", payer, "--as-of", stamp(NOW))

        assert "had no cost center" in service.run(*asked)
        assert service.ask(*asked)["cost_center"] is None
        service.run("cost-center", "set", payer, "--spending-limit", "70")
        then = service.ask("cost-center", "get", payer, "--as-of", stamp(NOW + DAY))
        assert 70 == then["cost_center"]["spending_limit"]


class TestInvoiceDraftShow:
    def test_of_the_cycle_that_was_open(self, service: Service) -> None:
        payer = new_payer()
        service.publish(*an_hour(payer, str(uuid.uuid4())))
        asked = ("invoice-draft", "show", payer, "--as-of", stamp(NOW))

        assert 2000 == service.ask(*asked)["invoice_draft"]["total_cents"]
        told = service.run(*asked)
        assert "total = balance" in told
        assert "Known at position" not in told
        assert "known at position" in told


class TestCompare:
    def test_every_entry_and_why(self, service: Service) -> None:
        payer, instance = new_payer(), str(uuid.uuid4())
        begun = stamp(NOW - 3 * HOUR)
        service.publish(event("started", payer, instance, startedTime=begun))
        position = service.ask("balance", payer, "--as-of", stamp(NOW))["balances"][0]["moment"]
        first = str(position["position"]["number"])
        service.publish(event("stopped", payer, instance, stoppedTime=stamp(NOW - 2 * HOUR)))
        service.run("credit-note", "add", payer, "5", "--description", "sorry")

        asked = ("compare", payer, "--first-as-of", stamp(NOW), "--first-known-at", first)
        told = service.ask(*asked, "--as-of", stamp(NOW + DAY))

        causes = {each["cause"]: each["difference_cents"] for each in told["differences"]}
        assert {"ended": -2000, "recorded": -500} == causes
        assert -2500 == told["second_balance_cents"] - told["first_balance_cents"]
        shown = service.run(*asked, "--as-of", stamp(NOW + DAY))
        assert instance in shown
        assert "-25.00" in shown
        one = service.ask(*asked, "--as-of", stamp(NOW + DAY), "--page-size", "1")
        rest = service.ask(*asked, "--as-of", stamp(NOW + DAY), "--cursor", one["next_cursor"])
        assert (1, 1) == (len(one["differences"]), len(rest["differences"]))
