"""ListEntries: all kinds, by keyset cursors, in both orders."""

import base64
import random
from collections.abc import Callable

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.data.scene import (
    OTHER_PAYER,
    PAYER,
    USER,
    Scene,
    note,
    ran,
    started,
    stopped,
    stopping,
)
from usage_ledger.v1 import queries_pb2

Page = queries_pb2.ListEntriesResponse


def page(scene: Scene, *, size: int = 0, cursor: str = "", ascending: bool = False) -> Page:
    request = queries_pb2.ListEntriesRequest(
        attribution_id=PAYER, page_size=size, cursor=cursor, ascending=ascending
    )
    return scene.calls.queries.ListEntries(request)


def pages(
    scene: Scene,
    size: int,
    *,
    ascending: bool,
    between: Callable[[int], None] = lambda _page: None,
) -> list[queries_pb2.Entry]:
    found: list[queries_pb2.Entry] = []
    cursor = ""
    number = 0
    while True:
        answer = page(scene, size=size, cursor=cursor, ascending=ascending)
        assert len(answer.entries) <= size
        found += answer.entries
        cursor = answer.next_cursor
        if not cursor:
            return found
        between(number)
        number += 1


def key(entry: queries_pb2.Entry) -> tuple[int, str]:
    return entry.effective_time.ToMilliseconds(), entry.id


def in_order(entries: list[queries_pb2.Entry], *, ascending: bool) -> list[queries_pb2.Entry]:
    """By time, ties by id ascending in both orders."""
    by_id = sorted(entries, key=lambda entry: entry.id)
    return sorted(by_id, key=lambda entry: key(entry)[0], reverse=not ascending)


def fill(scene: Scene) -> None:
    """Every kind, with ties, before, at and after the accrual instant, running ones too."""
    scene.open_cost_center()
    for number in range(6):
        scene.record(*ran(f"done {number}", "05:00", f"06:{number // 2:02d}"))
        scene.record(note(number + 1, event_id=f"note {number}", time=f"06:{number // 2:02d}"))
        scene.record(started(f"runs {number}", "07:00"))
    scene.record(note(7, event_id="at", time="08:00"), *ran("at", "07:00", "08:00"))
    scene.record(started("stopping", "07:00"), stopping("stopping", "08:00"))
    scene.record(*ran("after", "07:00", "08:30"), note(1, event_id="after", time="08:30"))
    scene.record(note(1, event_id="other", payer=OTHER_PAYER))
    scene.reconcile("08:00")
    scene.set_cost_center(5, strategy=0)


BOTH = pytest.mark.parametrize("ascending", [False, True])


class TestTiling:
    @BOTH
    @pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
    def test_pages_of_any_size_tile_all_kinds(
        self, scene: Scene, size: int, ascending: bool
    ) -> None:
        fill(scene)
        whole = list(page(scene, size=1000, ascending=ascending).entries)

        assert 6 * 3 + 2 + 1 + 2 + 1 == len(whole)
        assert {1, 2, 3} == {entry.kind for entry in whole}
        assert in_order(whole, ascending=ascending) == whole
        assert whole == pages(scene, size, ascending=ascending)
        assert scene.cents() == sum(entry.credit_cents for entry in whole)

    @BOTH
    @pytest.mark.parametrize("seed", range(4))
    def test_entries_added_meanwhile_are_not_missed_beyond_the_cursor_and_none_comes_twice(
        self, scene: Scene, ascending: bool, seed: int
    ) -> None:
        fill(scene)
        before = {entry.id for entry in pages(scene, 1000, ascending=ascending)}
        rng = random.Random(seed)

        def add(number: int) -> None:
            for turn in range(2):
                minute = f"{rng.randrange(60):02d}"
                name = f"new {number} {turn}"
                scene.record(note(1, event_id=name, time=f"0{rng.choice([5, 6, 8])}:{minute}"))
                scene.record(*ran(name, "04:00", f"0{rng.choice([5, 6, 7])}:{minute}"))

        found = pages(scene, 3, ascending=ascending, between=lambda n: add(n) if n < 8 else None)
        ids = [entry.id for entry in found]
        assert len(ids) == len(set(ids))
        assert before <= set(ids)
        assert in_order(found, ascending=ascending) == found

    @BOTH
    def test_one_that_ends_meanwhile_comes_at_most_twice_and_the_rest_once(
        self, scene: Scene, ascending: bool
    ) -> None:
        fill(scene)
        first = page(scene, size=10, ascending=ascending)
        scene.record(*[stopped(f"runs {number}", "07:30") for number in range(6)])
        rest = pages_from(scene, first.next_cursor, ascending=ascending)

        final = {entry.id for entry in page(scene, size=1000).entries}
        moved = {entry.id for entry in page(scene, size=1000).entries if entry.credit_cents == 500}
        seen = [entry.id for entry in [*first.entries, *rest]]
        assert final - moved <= set(seen)
        assert all(seen.count(each) == 1 for each in final - moved)

    @given(
        times=st.lists(st.integers(0, 4), max_size=12),
        size=st.integers(1, 5),
        ascending=st.booleans(),
    )
    def test_the_law_holds_for_any_times(
        self, times: list[int], size: int, ascending: bool
    ) -> None:
        with Scene() as scene:
            scene.record(
                *[note(n + 1, event_id=str(n), time=f"06:0{time}") for n, time in enumerate(times)],
                *[
                    event
                    for n, time in enumerate(times)
                    for event in ran(str(n), "05:00", f"06:0{time}")
                ],
                *[started(f"runs {n}", "07:00") for n in range(len(times) // 2)],
            )
            scene.reconcile("06:02")

            whole = list(page(scene, size=1000, ascending=ascending).entries)
            assert len(times) * 2 + len(times) // 2 == len(whole)
            assert in_order(whole, ascending=ascending) == whole
            assert whole == pages(scene, size, ascending=ascending)


def pages_from(scene: Scene, cursor: str, *, ascending: bool) -> list[queries_pb2.Entry]:
    return list(page(scene, size=1000, cursor=cursor, ascending=ascending).entries)


class TestAnswers:
    def test_newest_first_unless_asked(self, scene: Scene) -> None:
        scene.record(note(1, event_id="1", time="06:00"), note(2, event_id="2", time="07:00"))

        assert [-200, -100] == [entry.credit_cents for entry in page(scene).entries]

    def test_an_invoice_is_the_write_off_of_a_boundary(self, scene: Scene) -> None:
        scene.record(*ran("a", "05:00", "06:00"))
        scene.open_cost_center()
        scene.set_cost_center(9, strategy=0)

        entry = next(each for each in page(scene).entries if each.kind == 2)
        assert (-1000, "Credits", "", False, "") == (
            entry.credit_cents,
            entry.description,
            entry.workspace_instance_id,
            entry.draft,
            entry.metadata,
        )
        assert "2026-11-01T08:00:00Z" == entry.effective_time.ToJsonString()

    def test_a_note_without_a_user_has_no_metadata(self, scene: Scene) -> None:
        scene.record(note(1, event_id="1"), note(2, event_id="2", userId=USER))

        metadata = {each.credit_cents: each.metadata for each in page(scene).entries}
        assert {-100: "", -200: f'{{"userId": "{USER}"}}'} == metadata

    def test_an_unknown_payer_has_none(self, scene: Scene) -> None:
        assert ([], "") == (list(page(scene).entries), page(scene).next_cursor)

    def test_the_spelling_of_the_payer_does_not_matter(self, scene: Scene) -> None:
        scene.record(note(1))

        assert scene.calls.entries(PAYER) == scene.calls.entries("team:" + PAYER[5:].upper())


class TestRefused:
    @pytest.mark.parametrize("size", [-1, 1001])
    def test_a_page_size_out_of_range(self, scene: Scene, size: int) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            page(scene, size=size)
        assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()

    @pytest.mark.parametrize(
        "cursor", ["x", "ü", "====", base64.urlsafe_b64encode(b"x" * 23).decode()]
    )
    def test_a_cursor_that_is_none_of_ours(self, scene: Scene, cursor: str) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            page(scene, cursor=cursor)
        assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()

    @pytest.mark.parametrize("cursor", [b"\xff" * 24, b"\x00" * 24, b"\x80" + b"\x00" * 23])
    @BOTH
    def test_a_made_up_cursor_is_a_place_like_any_other(
        self, scene: Scene, cursor: bytes, ascending: bool
    ) -> None:
        fill(scene)
        page(scene, cursor=base64.urlsafe_b64encode(cursor).decode(), ascending=ascending)

    @pytest.mark.parametrize("payer", ["", "team:x"])
    def test_a_malformed_payer(self, scene: Scene, payer: str) -> None:
        with pytest.raises(grpc.RpcError) as refused:
            scene.calls.entries(payer)
        assert grpc.StatusCode.INVALID_ARGUMENT == refused.value.code()
