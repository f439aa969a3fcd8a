"""The commands as operators run them."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from contextlib import closing
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from events import type_registry
from ledger.audit.keys import LastHead, Retired, read_key_list, write_key_list
from ledger.audit.notes import parse_note
from ledger.audit.packs import describing
from ledger.audit.packs.columns import (
    BOOLEAN,
    BYTES,
    ENTRIES,
    EVENTS,
    INTEGER,
    PRICES,
    TEXT,
    TIME,
    names_of,
)
from ledger.audit.packs.importing import import_pack
from ledger.audit.packs.reading import Pack
from ledger.stores import OpenStore
from persistence.sqlite import SQLiteReader, SQLiteStore
from tests.contract.data.scene import PAYER, Scene, ran
from tests.packs.scene import Packed, pack_of, verified
from tests.proofs.scene import Signing
from tests.proofs.test_commands import usage_ledger
from tests.servers.postgres import PostgresServer


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(tmp_path / "keys")


def filled(data_dir: Path, signing: Signing, *, behind: bool = False) -> None:
    """Two instances of two days under a head; and with `behind` one that no head covers."""
    with Scene(data_dir, tree=True, **signing.settings) as scene:
        scene.record(*ran("first", "10-30 06:00", "10-30 07:00", userName="Zoë"))
        scene.record(*ran("second", "06:00", "07:00"))
        signing.sign(scene)
        if behind:
            scene.record(*ran("third", "06:00", "07:00"))


class TestExport:
    def test_tells_the_period_and_what_was_carried(self, tmp_path: Path, signing: Signing) -> None:
        filled(tmp_path / "ledger", signing)
        more = ("--payer", PAYER, "--from", "2026-11-01", "--to", "2026-12-01")
        place = ("--data-dir", str(tmp_path / "ledger"))
        usage_ledger("export", str(tmp_path / "pack"), *more, *place)
        manifest = json.loads((tmp_path / "pack" / "manifest.json").read_text())
        assert (PAYER, "2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z") == (
            manifest["payer"],
            manifest["period_from"],
            manifest["period_to"],
        )
        totals = manifest["totals"]
        assert (1, 1000, 1000, 0, 2000) == (
            totals["entries"],
            totals["carried_cents"],
            totals["period_cents"],
            totals["later_cents"],
            totals["balance_cents"],
        )
        assert "carried 10.00 + period 10.00 + later 0.00 = balance 20.00" in verified(
            tmp_path / "pack", signing.keys_file
        )

    def test_has_no_personal_fields_unless_they_are_asked_for(
        self, tmp_path: Path, signing: Signing
    ) -> None:
        filled(tmp_path / "ledger", signing)
        place = ("--data-dir", str(tmp_path / "ledger"))
        for name, more in (("bare", ()), ("full", ("--with-personal",))):
            usage_ledger("export", str(tmp_path / name), "--payer", PAYER, *more, *place)
            verified(tmp_path / name, signing.keys_file)
        held = {
            name: [path for path in (tmp_path / name).rglob("*") if _holds(path, "Zoë")]
            for name in ("bare", "full")
        }
        assert [] == held["bare"]
        assert [] == held["full"]  # it stands there in base64, in one file
        (personal,) = (tmp_path / "full").glob("shard-0/personal.jsonl")
        assert b"Zo\xc3\xab" in _fields_of(personal)

    def test_says_how_many_events_no_head_covers(self, tmp_path: Path, signing: Signing) -> None:
        filled(tmp_path / "ledger", signing, behind=True)
        place = ("--data-dir", str(tmp_path / "ledger"))
        told = json.loads(
            usage_ledger("export", str(tmp_path / "pack"), "--everything", *place, "--json")
        )
        assert (7, 3, 2000) == (told["events"], told["behind"], told["balance_cents"])
        verified(tmp_path / "pack", signing.keys_file)
        with closing(SQLiteStore(tmp_path / "new")) as store:
            opened = OpenStore(store, lambda: SQLiteReader(store))
            with closing(Pack(tmp_path / "pack")) as pack:
                import_pack(pack, read_key_list(signing.keys_file, may_lack=False), [opened])
            with closing(SQLiteReader(store)) as reader:
                # Its counts are those of what it has.
                assert [] == [breach for _, _, found in reader.audit() for breach in found]

    @pytest.mark.parametrize(
        ("arguments", "code", "told"),
        [
            ((), 2, "Say --payer PAYER, or --everything."),
            (("--payer", PAYER, "--everything"), 2, "Say --payer PAYER, or --everything."),
            (("--payer", "user:1"), 2, "--payer: "),
            (("--everything", "--from", "2026-01-01"), 2, "are for the pack of a payer"),
            (("--payer", PAYER, "--from", "2026-02-01", "--to", "2026-01-01"), 2, "lies behind"),
            (("--payer", PAYER, "--from", "yesterday"), 2, "--from"),
            (("--payer", PAYER, "--head", "7"), 1, "there is no head 7"),
            (("--payer", f"{PAYER[:-1]}f"), 1, "nothing was ever recorded for"),
        ],
    )
    def test_refuses(
        self,
        tmp_path: Path,
        signing: Signing,
        arguments: tuple[str, ...],
        code: int,
        told: str,
    ) -> None:
        filled(tmp_path / "ledger", signing)
        command = ("export", str(tmp_path / "pack"), *arguments)
        said = usage_ledger(*command, "--data-dir", str(tmp_path / "ledger"), code=code)
        assert told in said
        assert ["keys", "ledger"] == sorted(path.name for path in tmp_path.iterdir())

    def test_refuses_a_ledger_without_a_head(self, tmp_path: Path) -> None:
        with Scene(tmp_path / "ledger", tree=True) as scene:
            scene.record(*ran("first", "06:00", "07:00"))
        command = ("export", str(tmp_path / "pack"), "--payer", PAYER)
        said = usage_ledger(*command, "--data-dir", str(tmp_path / "ledger"), code=1)
        assert "no head of shard 0 is signed yet: `usage-ledger heads sign`" in said

    def test_refuses_a_place_that_is_taken(self, packed: Packed, tmp_path: Path) -> None:
        (tmp_path / "pack.partial").mkdir()
        (tmp_path / "pack.partial" / "mine").touch()
        place = ("--everything", "--data-dir", str(packed.folder / "ledger"))
        said = usage_ledger("export", str(tmp_path / "pack"), *place, code=1)
        assert "is in the way, and is no pack" in said
        said = usage_ledger("export", str(tmp_path), *place, code=1)
        assert "is there already" in said

    def test_refuses_a_log_that_was_changed(self, tmp_path: Path, signing: Signing) -> None:
        filled(tmp_path / "ledger", signing)
        with closing(SQLiteStore(tmp_path / "ledger")) as store:
            store.connection.execute(
                "UPDATE stored_events SET originator_version = 9 WHERE position = 3"
            )
        command = ("export", str(tmp_path / "pack"), "--everything")
        said = usage_ledger(*command, "--data-dir", str(tmp_path / "ledger"), code=1)
        assert "the log is not what head 1, of 7 events, was signed for" in said
        assert not (tmp_path / "pack").exists()


class TestAHeadOfARetiredKey:
    """Whoever has stolen the key can sign any tree before its last one: nobody believes it."""

    @pytest.fixture
    def ledger(self, tmp_path: Path, signing: Signing) -> Path:
        """Heads 1 and 2 by a key that is retired, 3 by the next."""
        data_dir = tmp_path / "ledger"
        with Scene(data_dir, tree=True, **signing.settings) as scene:
            for name in ("first", "second"):
                scene.record(*ran(name, "06:00", "07:00"))
                (head,) = signing.sign(scene)
            last = parse_note(head.note).checkpoint
        signing.rotate("next")
        with Scene(data_dir, tree=True, **signing.settings) as scene:
            scene.record(*ran("third", "06:00", "07:00"))
            signing.sign(scene)
        retired = Retired("2026-11-02T00:00:00.000Z", "local:root", (LastHead(*last[:3]),))
        signing.keys = signing.keys.retiring("test-key", retired)
        write_key_list(signing.keys_file, signing.keys)
        return data_dir

    def export(self, ledger: Path, pack: Path, *more: str, code: int = 0) -> str:
        place = ("--data-dir", str(ledger))
        return usage_ledger("export", str(pack), *more, *place, code=code)

    @pytest.mark.parametrize("whose", [("--everything",), ("--payer", PAYER)])
    def test_before_its_last_one_is_refused(
        self, ledger: Path, tmp_path: Path, signing: Signing, whose: tuple[str, ...]
    ) -> None:
        shutil.copy(signing.keys_file, ledger / "audit-keys.json")
        said = self.export(ledger, tmp_path / "1", *whose, "--head", "1", code=1)
        assert 'key "test-key", which signed head 1, is retired' in said
        assert "take --head 2" in said
        assert not (tmp_path / "1").exists()
        for head in ("2", "3"):
            self.export(ledger, tmp_path / head, *whose, "--head", head)
            verified(tmp_path / head, signing.keys_file)

    def test_is_packed_where_the_list_is_not_known(
        self, ledger: Path, tmp_path: Path, signing: Signing
    ) -> None:
        self.export(ledger, tmp_path / "1", "--everything", "--head", "1")
        said = verified(tmp_path / "1", signing.keys_file, code=1)
        assert "is retired: an older head of it is believed only with" in said

    def test_is_not_looked_at_by_a_list_that_cannot_be_read(
        self, ledger: Path, tmp_path: Path
    ) -> None:
        (ledger / "audit-keys.json").write_text("[]")
        said = self.export(ledger, tmp_path / "1", "--everything", code=2)
        assert "is no list of keys" in said


class TestOfAServer:
    @pytest.mark.postgres
    def test_is_made_beside_a_service_and_taken_over(
        self,
        tmp_path: Path,
        signing: Signing,
        postgres_server: PostgresServer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        old, new = postgres_server.new_ledger(), postgres_server.new_ledger()
        monkeypatch.setenv("USAGE_LEDGER_STORE", "postgres")
        monkeypatch.setenv("USAGE_LEDGER_POSTGRES__URLS", old)
        place: dict[str, Any] = {"store": "postgres", "postgres": {"urls": [old]}}
        with Scene(tmp_path / "ledger", tree=True, **signing.settings, **place) as scene:
            scene.record(*ran("first", "10-30 06:00", "10-30 07:00", userName="Zoë"))
            signing.sign(scene)
            usage_ledger("export", str(tmp_path / "pack"), "--everything")
            usage_ledger("export", str(tmp_path / "of-payer"), "--payer", PAYER)
            cents = scene.cents(PAYER)
        for name in ("pack", "of-payer"):
            assert f"balance {cents / 100:.2f} credits" in verified(
                tmp_path / name, signing.keys_file
            )
        monkeypatch.setenv("USAGE_LEDGER_POSTGRES__URLS", new)
        keys = str(signing.keys_file)
        usage_ledger("import-pack", str(tmp_path / "pack"), "--keys", keys)
        told = usage_ledger("verify", "--local", "--keys", keys)
        assert "4 events" in told
        assert "all as they were recorded and signed" in told
        for url in (old, new):
            postgres_server.drop_database(url)


class TestImport:
    def test_tells_what_it_did_and_that_it_was_done(self, packed: Packed, tmp_path: Path) -> None:
        command = ("import-pack", str(packed.everything), "--keys", str(packed.keys), "--json")
        for was_there in (False, True):
            told = json.loads(usage_ledger(*command, "--data-dir", str(tmp_path / "new")))
            (shard,) = told["shards"]
            assert (packed.ledger.core.head, 3, was_there) == (
                shard["events"],
                shard["heads"],
                shard["was_there"],
            )

    @pytest.mark.parametrize(
        ("pack", "keys", "code", "told"),
        [
            ("nowhere", "", 2, "cannot be read"),
            ("keys.json", "", 2, "is neither a folder nor a whole archive"),
            ("", "nowhere", 2, "nowhere"),
        ],
    )
    def test_refuses(
        self, packed: Packed, tmp_path: Path, pack: str, keys: str, code: int, told: str
    ) -> None:
        (tmp_path / "keys.json").write_bytes(packed.keys.read_bytes())
        given = str(tmp_path / pack) if pack else str(packed.everything)
        listed = str(tmp_path / keys) if keys else str(packed.keys)
        command = ("import-pack", given, "--keys", listed, "--data-dir", str(tmp_path / "new"))
        assert told in usage_ledger(*command, code=code)


class TestTheVerifier:
    def test_knows_the_fields_of_every_topic(self, verifier: Any) -> None:
        ours = {topic: list(kind.__struct_fields__) for topic, kind in type_registry.items()}
        assert ours == verifier._FIELDS
        assert {1} == {kind.VERSION for kind in type_registry.values()}

    def test_knows_what_every_field_may_be(self, verifier: Any) -> None:
        """A field of another kind would be counted, or fold to something else."""
        as_stored = {tuple: list}  # by msgpack
        for topic, kind in type_registry.items():
            for name, hint in get_type_hints(kind).items():
                if name not in kind.__struct_fields__:
                    continue
                plain = get_args(hint) if isinstance(hint, UnionType) else (hint,)
                kinds = [get_origin(each) or each for each in plain]
                expected = {as_stored.get(each, each) for each in kinds}
                assert expected == set(verifier.kind_of(topic, name)), (topic, name)

    def test_knows_which_topics_grew_by_a_field(self, verifier: Any) -> None:
        grown = {topic for topic, kind in type_registry.items() if kind.__struct_defaults__}
        assert grown == verifier._GREW

    def test_knows_the_columns_of_every_table(self, verifier: Any) -> None:
        kinds = {INTEGER: "number", TIME: "time", BOOLEAN: "truth", BYTES: "bytes", TEXT: "text"}
        for ours, theirs in (
            (ENTRIES, verifier.ENTRY_COLUMNS),
            (EVENTS, verifier.EVENT_COLUMNS),
            (PRICES, verifier.PRICE_COLUMNS),
        ):
            assert names_of(ours) == list(theirs)
            assert [kinds[column.kind] for column in ours] == [
                verifier._KINDS.get(name, "text") for name in theirs
            ]

    def test_knows_what_packs_say_of_themselves(self, verifier: Any) -> None:
        """What an older version wrote stays in the verifier's list: its packs hold for ever."""
        written = {
            "README.md": describing.README_TEXT,
            "balances.sql": describing.SQL_TEXT,
            "schema.json": describing.schema_bytes(),
        }
        assert written.keys() == verifier.WRITTEN.keys()
        for name, content in written.items():
            assert hashlib.sha256(content).hexdigest() in verifier.WRITTEN[name], name

    def test_says_that_it_has_no_reader_of_parquet(self, packed: Packed) -> None:
        # None in the place of a module is one that is not there.
        program = (
            "import runpy, sys; sys.modules['pyarrow'] = None; sys.argv = sys.argv[1:];"
            " runpy.run_path(sys.argv[0], run_name='__main__')"
        )
        told = verified(packed.of_payer, packed.keys, program=program)
        assert "NOTE        Parquet files are those that the manifest names" in told

    def test_reads_an_archive_and_names_what_is_wrong_with_one(
        self, packed: Packed, tmp_path: Path
    ) -> None:
        archive = tmp_path / "pack.tar"
        pack_of([packed.ledger.reader], archive, archive=True)
        verified(archive, packed.keys)
        raw = archive.read_bytes()
        archive.write_bytes(raw[: len(raw) // 2])
        said = verified(archive, packed.keys, code=2)
        assert "is neither a folder nor a whole archive" in said or "cut off" in said


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and text.encode() in path.read_bytes()


def _fields_of(personal: Path) -> bytes:
    lines = personal.read_text().splitlines()
    return b"".join(base64.b64decode(json.loads(line)["fields"]) for line in lines)
