"""Why numbers are what they are, on a real service: the tree, more of it, and JSON."""

import re
import uuid
from typing import Any

from tests.cli.running import Service, an_hour, new_payer

CURSOR = re.compile(r"usage-ledger why more (\S+)")


def parts_of(number: dict[str, Any]) -> int:
    parts: list[dict[str, Any]] = number["parts"]
    return sum(part["credit_cents"] for part in parts)


class TestWhyBalance:
    def test_shows_events_price_and_arithmetic(self, service: Service) -> None:
        payer, instance = new_payer(), str(uuid.uuid4())
        events = an_hour(payer, instance)
        service.publish(*events)

        told = service.run("why", "balance", payer)

        assert told.startswith(f"20.00  balance of {payer}\n")
        assert "3,600 s x 1111111111/2000000000 cents/s" in told
        assert "rounded 2,000 cents" in told
        assert "0.3333333333 credits a minute: price list 1, in force from the beginning" in told
        assert f"published as {events[1]['id']} of /tests, recorded" in told
        assert "0.00 -> 20.00" in told

    def test_opens_what_was_left_closed(self, service: Service) -> None:
        payer = new_payer()
        for _ in range(3):
            service.publish(*an_hour(payer, str(uuid.uuid4())))

        told = service.run("why", "balance", payer, "--page-size", "1")
        cursor = CURSOR.findall(told)[0]
        more = service.ask("why", "more", cursor, "--page-size", "1")["explanation"]["number"]

        assert "2 more parts: 40.00." in told
        assert (1, 2000, 1) == (
            more["earlier_part_count"],
            more["earlier_part_cents"],
            len(more["parts"]),
        )
        assert "1 part before: 20.00" in service.run("why", "more", cursor)

    def test_with_all_opens_everything(self, service: Service) -> None:
        payer = new_payer()
        for _ in range(3):
            service.publish(*an_hour(payer, str(uuid.uuid4())))

        told = service.run("why", "balance", payer, "--page-size", "1", "--all")
        number = service.ask("why", "balance", payer, "--page-size", "1", "--all")
        number = number["explanation"]["number"]

        assert "why more" not in told
        assert 3 == told.count("instance-stopped")
        (usage,) = number["parts"]
        (day,) = usage["parts"]
        assert 6000 == parts_of(number) == parts_of(usage) == parts_of(day)

    def test_once_the_number_has_moved_a_cursor_fails_and_says_what_to_do(
        self, service: Service
    ) -> None:
        payer = new_payer()
        for _ in range(2):
            service.publish(*an_hour(payer, str(uuid.uuid4())))
        cursor = CURSOR.findall(service.run("why", "balance", payer, "--page-size", "1"))[0]
        service.publish(*an_hour(payer, str(uuid.uuid4())))

        assert "ask for the number again" in service.run("why", "more", cursor, code=1)
        assert "cursor" in service.run("why", "more", "nonsense", code=2)


class TestWhyEntryAndLine:
    def test_a_void_stands_with_who_and_why_and_without_control_characters(
        self, service: Service
    ) -> None:
        payer, instance = new_payer(), str(uuid.uuid4())
        service.publish(*an_hour(payer, instance))
        service.run("instance", "void", instance, "--reason", "[bold]\x1b[31mthe wrong team")

        told = service.run("why", "instance", instance)

        assert "20.00 -> 0.00" in told
        assert "by an operator, recorded" in told
        assert '"[bold]\ufffd[31mthe wrong team"' in told

    def test_an_entry_by_its_id(self, service: Service) -> None:
        payer, instance = new_payer(), str(uuid.uuid4())
        service.publish(*an_hour(payer, instance))
        (entry,) = service.ask("entries", "list", payer)["entries"]

        number = service.ask("why", "entry", payer, entry["id"])["explanation"]["number"]

        assert (2000, "usage_entry", instance) == (
            number["credit_cents"],
            number["kind"],
            number["workspace_instance_id"],
        )
        assert "stopped" == number["runtime"]["ended_by"]

    def test_a_line_of_the_draft(self, service: Service) -> None:
        payer = new_payer()
        service.publish(*an_hour(payer, str(uuid.uuid4())))

        told = service.run("why", "draft-line", payer, "g1-large")

        assert told.startswith("20.00  g1-large in cycle 0\n")
        assert "it has g1-large" in service.run("why", "draft-line", payer, "other", code=1)
        assert "cycle 9" in service.run(
            "why", "draft-line", payer, "g1-large", "--cycle", "9", code=1
        )

    def test_what_is_not_there_fails(self, service: Service) -> None:
        nobody = str(uuid.uuid4())
        assert "no event of it" in service.run("why", "instance", nobody, code=1)
        assert "entries list" in service.run("why", "entry", new_payer(), nobody, code=1)
        assert "not settled here" in service.run("why", "invoice", "in_1", code=1)
