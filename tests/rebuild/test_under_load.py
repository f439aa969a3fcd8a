"""A generation is built, promoted, taken back and dropped while callers go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.cluster.processes import RoleProcess
from tests.rebuild.load import BLOCK_LINES, Load, fill
from tests.rebuild.scene import Place

CALLS_MIN = 60  # in each phase: a phase without calls proves nothing
EVENTS = 3_000
PAUSE_SECONDS = 0.002  # between the calls of each caller; without, they take the build's processor


@contextmanager
def services(place: Place) -> Iterator[list[RoleProcess]]:
    """One process with a file; in a cluster two that serve, and a projector."""
    with ExitStack() as stack:
        running = [stack.enter_context(place.role())]
        if place.url:
            running.append(stack.enter_context(place.role("serve", "jobs")))
            stack.enter_context(place.role("project"))
        yield running


class TestUnderLoad:
    def test_no_call_fails_or_misses_a_write(self, place: Place) -> None:
        with services(place) as running, ExitStack() as stack:
            calls = running[0].calls
            assert calls is not None
            fill(calls, EVENTS)
            # The second service publishes nothing: its callers see what the projector folds.
            loads = [
                stack.enter_context(
                    Load(
                        each.target,
                        name=each.name,
                        block_lines=0 if number else BLOCK_LINES,
                        pause_seconds=PAUSE_SECONDS,
                    )
                )
                for number, each in enumerate(running)
            ]

            def told(*arguments: str, want: str) -> None:
                before = [load.calls for load in loads]
                text = place.do(*arguments)
                assert want in text
                for load, seen in zip(loads, before, strict=True):
                    load.wait_for(max(CALLS_MIN - (load.calls - seen), 10))
                    load.check()

            told("projections", "rebuild", want="no number differs")
            told("projections", "promote", want="generation 2 is served")
            told("projections", "rollback", want="generation 1 is served again")
            told("projections", "promote", want="generation 2 is served")
            told("projections", "drop", "1", want="generation 1 is dropped")
        for load in loads:
            load.check()
        assert loads[0].published > EVENTS
        assert {1: "dropped", 2: "served"} == place.states()
        assert EVENTS < place.compare()

    def test_a_restart_goes_on_in_the_promoted_generation(self, place: Place) -> None:
        with place.role() as service:
            assert service.calls is not None
            fill(service.calls, 900)
            place.do("projections", "rebuild", "--promote")
            service.calls.publish([b"{"], delivery="more")
            assert 0 == service.stop()
        with place.role() as service, Load(service.target) as load:
            load.wait_for(CALLS_MIN)
            assert "folding the whole log anew" not in service.log
            place.do("projections", "drop", "1")
            load.wait_for(CALLS_MIN)
            assert service.calls is not None
            assert [] == service.calls.breaches()
        with place.role() as service:
            assert 0 < place.compare()

    def test_nothing_is_written_by_those_who_look(self, place: Place) -> None:
        with place.role() as service:
            assert service.calls is not None
            fill(service.calls, 300)
            assert 0 == service.stop()
        with place.database() as sql:
            before = [sql(f"SELECT * FROM {table}") for table in ("generations", "served")]
        place.states()
        place.compare()
        with place.database() as sql:
            assert before == [sql(f"SELECT * FROM {table}") for table in ("generations", "served")]


def test_a_generation_is_begun_where_the_first_rows_are_few(place: Place) -> None:
    """An empty ledger can be built and promoted, too, and is served from there on."""
    with place.role() as service:
        text = place.do("projections", "rebuild", "--promote")
        assert "generation 2 is served" in text
        with Load(service.target) as load:
            load.wait_for(CALLS_MIN)
        time.sleep(0.1)
        assert 0 < place.compare()
