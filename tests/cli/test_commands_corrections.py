"""What operators find not to count, on a real service."""

import uuid

from tests.cli.running import HOUR, NOW, Service, an_hour, event, new_payer, stamp


class TestInstanceVoid:
    def test_frees_the_id_so_that_the_right_payers_dead_letters_are_taken(
        self, service: Service
    ) -> None:
        wrong, right, instance = new_payer(), new_payer(), str(uuid.uuid4())
        service.publish(*an_hour(wrong, instance))
        letters = service.publish(*an_hour(right, instance), code=3)["rejects"]

        told = service.run("instance", "void", instance, "--reason", "[bold]the wrong team")
        ids = [str(letter["dead_letter_id"]) for letter in letters]
        retried = service.ask("dead-letters", "retry", *ids)

        assert f"{instance} counts no more for {wrong}" in told
        assert (2, 2) == (retried["retried"], retried["recorded"])
        assert (0, 2000) == (service.cents(wrong), service.cents(right))
        known = service.ask("instance", "show", instance)
        assert not known["is_void"]
        assert [(wrong, "[bold]the wrong team")] == [
            (void["attribution_id"], void["reason"]) for void in known["voids"]
        ]

    def test_is_shown_with_who_and_why(self, service: Service) -> None:
        payer, instance = new_payer(), str(uuid.uuid4())
        service.publish(*an_hour(payer, instance))
        service.run("instance", "void", instance, "--payer", payer, "--reason", "a test machine")

        shown = service.run("instance", "show", instance)

        assert "It counts no more, and its ID is free." in shown
        assert "a test machine" in shown
        assert "local:" in shown

    def test_twice_fails_and_says_by_whom(self, service: Service) -> None:
        payer, instance = new_payer(), str(uuid.uuid4())
        service.publish(event("started", payer, instance, startedTime=stamp(NOW - HOUR)))
        void = ("instance", "void", instance, "--reason", "a test machine")
        service.run(*void)

        assert "is void already, by local:" in service.run(*void, code=1)

    def test_for_another_payer_than_it_is_recorded_for_fails(self, service: Service) -> None:
        payer, instance = new_payer(), str(uuid.uuid4())
        service.publish(*an_hour(payer, instance))
        void = ("instance", "void", instance, "--payer", new_payer(), "--reason", "no")

        assert f"is recorded for {payer}" in service.run(*void, code=1)
        assert 2000 == service.cents(payer)

    def test_without_a_reason_is_a_usage_error(self, service: Service) -> None:
        assert "--reason" in service.run("instance", "void", str(uuid.uuid4()), code=2)
        blank = ("instance", "void", str(uuid.uuid4()), "--reason", " ")
        assert "say why" in service.run(*blank, code=2)


class TestCreditNoteVoid:
    def test_one_by_its_entry(self, service: Service) -> None:
        payer = new_payer()
        service.run("credit-note", "add", payer, "5", "--description", "sorry")
        (entry,) = service.ask("entries", "list", payer)["entries"]

        void = ("credit-note", "void", payer, entry["id"], "--reason", "given twice")
        told = service.run(*void)

        assert f"Credit note {entry['id']} counts no more for {payer}." in told
        assert 0 == service.cents(payer)
        assert "is void already" in service.run(*void, code=1)


class TestEntriesVoided:
    def test_both_kinds_newest_first(self, service: Service) -> None:
        payer, instance = new_payer(), str(uuid.uuid4())
        service.publish(*an_hour(payer, instance))
        service.run("credit-note", "add", payer, "5", "--description", "sorry")
        note = service.ask("entries", "list", payer)["entries"][0]["id"]
        service.run("instance", "void", instance, "--reason", "a test machine")
        service.run("credit-note", "void", payer, note, "--reason", "given twice")

        voids = service.ask("entries", "voided", payer, "--all")["voids"]

        assert [
            ("credit_note", note, "", -500, "given twice"),
            ("workspace_instance", voids[1]["entry_id"], instance, 2000, "a test machine"),
        ] == [
            (
                void["kind"],
                void["entry_id"],
                void["workspace_instance_id"],
                void["credit_cents"],
                void["reason"],
            )
            for void in voids
        ]
        table = service.run("entries", "voided", payer)
        assert "given twice" in table
        assert "20.00" in table

    def test_of_a_payer_without_any(self, service: Service) -> None:
        assert [] == service.ask("entries", "voided", new_payer())["voids"]


class TestInvoiceDraft:
    def test_tells_of_voided_notes_of_closed_cycles(self, service: Service) -> None:
        payer = new_payer()
        service.run("credit-note", "add", payer, "5", "--description", "sorry")
        service.ask("cost-center", "get", payer)
        note = service.ask("entries", "list", payer)["entries"][0]["id"]
        service.run("credit-note", "void", payer, note, "--reason", "given twice")

        draft = service.ask("invoice-draft", "show", payer)["invoice_draft"]

        (voided,) = draft["voided_credit_notes"]
        assert (1, 500) == (voided["credit_notes"], voided["credit_cents"])
        shown = service.run("invoice-draft", "show", payer)
        assert "Among the credit notes: 1 of cycle 0 voided, 5.00 credits." in shown
