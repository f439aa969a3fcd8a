"""Settings: where they come from, and what is refused with which sentence."""

import datetime as dt
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ledger.settings import (
    Settings,
    SettingsError,
    format_duration,
    load_settings,
    parse_duration,
    read_settings,
)


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither this machine's variables nor its home decide a test."""
    for name in list(os.environ):
        if name.startswith("USAGE_LEDGER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "usage-ledger.toml"


def problems_of(config: Path | None = None, **overrides: Any) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as refused:
        load_settings(config, **overrides)
    assert "\n".join(refused.value.problems) == str(refused.value)
    return refused.value.problems


class TestDefaults:
    def test_they_are_the_contract_s(self, tmp_path: Path) -> None:
        settings = load_settings()

        assert tmp_path / "share" / "usage-ledger" == settings.data_dir
        assert ("127.0.0.1", 9001) == settings.listen_address
        assert ("sqlite", "full") == (settings.store, settings.sqlite.synchronous)
        assert 3_600_000 == settings.ledger_interval
        assert (True, True) == (settings.jobs.ledger_enabled, settings.jobs.reset_enabled)
        assert 900_000 == settings.jobs.reset_every
        assert 10 * 86_400_000 == settings.max_expected_runtime
        assert 90 * 86_400_000 == settings.dead_letters.retention
        assert 20_000 == settings.shutdown_grace
        limits = settings.default_spending_limit
        assert (0, 500, 0) == (
            limits.for_teams,
            limits.for_users,
            limits.min_for_users_on_stripe,
        )
        assert ("none", 5_000) == (settings.directory.kind, settings.directory.timeout)
        assert ("info", "text") == (settings.log.level, settings.log.format)

    def test_prices(self) -> None:
        settings = load_settings()

        assert 1 == settings.prices.revision
        assert {
            "default": Decimal("0.1666666667"),
            "g1-standard": Decimal("0.1666666667"),
            "g1-large": Decimal("0.3333333333"),
            "gitpodio-internal-xl": Decimal("0.3333333333"),
        } == settings.price_rates()

    def test_the_key_for_free_credits_lies_in_the_data_directory(self, tmp_path: Path) -> None:
        settings = load_settings(data_dir=tmp_path)

        assert tmp_path / "secrets" / "free-credit.key" == settings.free_credit_key_path

    def test_the_value_is_frozen(self) -> None:
        with pytest.raises(ValidationError):
            load_settings().listen = "127.0.0.1:1"


class TestSources:
    def test_an_option_beats_a_variable_beats_the_file(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config.write_text('listen = "127.0.0.1:1"\n[log]\nlevel = "debug"\nformat = "json"\n')
        monkeypatch.setenv("USAGE_LEDGER_LISTEN", "127.0.0.1:2")
        monkeypatch.setenv("USAGE_LEDGER_LOG__LEVEL", "warning")

        loaded = read_settings(config, listen="127.0.0.1:3", store=None, jobs={})

        assert "127.0.0.1:3" == loaded.settings.listen
        assert ("warning", "json") == (loaded.settings.log.level, loaded.settings.log.format)
        where = {row.name: (row.origin, row.where) for row in loaded.rows()}
        assert ("option", "") == where["listen"]
        assert ("env", "USAGE_LEDGER_LOG__LEVEL") == where["log.level"]
        assert ("file", str(config)) == where["log.format"]
        assert ("default", "") == where["store"]

    def test_an_empty_variable_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("USAGE_LEDGER_LISTEN", "")

        assert "127.0.0.1:9001" == load_settings().listen

    def test_a_path_in_the_file_starts_at_the_file(self, config: Path) -> None:
        config.write_text('data_dir = "ledger"\n')

        assert config.parent / "ledger" == load_settings(config).data_dir

    def test_a_rate_in_the_file_keeps_its_digits(self, config: Path) -> None:
        config.write_text("[prices]\ncredits_per_minute = { xl = 999.0123456789, free = 0 }\n")

        assert {"xl": Decimal("999.0123456789"), "free": Decimal(0)} == (
            load_settings(config).price_rates()
        )

    def test_a_rate_in_a_variable_keeps_its_digits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("USAGE_LEDGER_PRICES__CREDITS_PER_MINUTE", '{"g1-large": 0.1234567891}')

        assert {"g1-large": Decimal("0.1234567891")} == load_settings().price_rates()

    def test_a_time_in_the_file_is_cut_to_the_millisecond_in_utc(self, config: Path) -> None:
        config.write_text("[prices]\neffective_from = 2026-11-01T01:00:00.123999+01:00\n")

        expected = dt.datetime(2026, 11, 1, microsecond=123_000, tzinfo=dt.UTC)
        assert expected == load_settings(config).prices.effective_from

    def test_other_variables_with_our_prefix_are_let_pass(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Kubernetes sets these for a service of our name.
        monkeypatch.setenv("USAGE_LEDGER_SERVICE_HOST", "10.0.0.1")
        monkeypatch.setenv("USAGE_LEDGER_PORT_9001_TCP_ADDR", "10.0.0.1")
        monkeypatch.setenv("USAGE_LEDGER_TARGET", "10.0.0.1:9001")

        assert Settings() == load_settings()

    def test_every_setting_has_a_row(self) -> None:
        names = [row.name for row in read_settings().rows()]

        assert {"data_dir", "ledger_interval", "prices.revision", "directory.url"} <= set(names)
        assert len(names) == len(set(names))


class TestRefusals:
    @pytest.mark.parametrize(
        ("toml", "sentence"),
        [
            ('listen = "localhost"', 'listen is "localhost"'),
            ('listen = "127.0.0.1:65536"', "port from 0 (any that is free) to 65535"),
            ('listen = "::1:9001"', "for IPv6, [::1]:9001"),
            ('store = "mysql"', '"sqlite" or "memory" or "postgres"'),
            ('postgres = { urls = ["db-1"] }', "each must be a URL such as"),
            ("postgres = { urls = 1 }", "it must be a list of texts"),
            (
                'postgres = { urls = ["postgresql://db/a", "postgresql://db/a"] }',
                "one database stands there twice",
            ),
            ("postgres = { pool_size = 3 }", "whole number from 4 to 200"),
            ('postgres = { password_file = "/nowhere" }', "cannot read: No such file"),
            ("ledger_interval = 3600", "ledger_interval is 3600"),
            ('ledger_interval = "0s"', "longer than nothing"),
            ('ledger_interval = "1 hour"', '"1h30m"'),
            ("shutdown_grace = 07:32:00", "it must be a duration"),
            ('jobs = { ledger_enabled = "yes" }', "it must be true or false"),
            ("prices = { revision = 0 }", "whole number from 1"),
            ("prices = { revision = 1.5 }", "whole number from 1"),
            ("prices = { revision = true }", "whole number from 1"),
            ("prices = { effective_from = 2026-11-01T00:00:00 }", "a time with its zone"),
            ("prices = { effective_from = 2026-11-01 }", "a time with its zone"),
            ("prices = { credits_per_minute = { a = -1 } }", 'the rate of "a"'),
            ("prices = { credits_per_minute = { a = 1000.1 } }", "from 0 to 1000"),
            ("prices = { credits_per_minute = { a = 0.12345678901 } }", "at most 10 places"),
            ("prices = { credits_per_minute = { a = nan } }", "an exact decimal"),
            ("prices = { credits_per_minute = 5 }", "it must be a table"),
            ("default_spending_limit = { for_users = 2147483648 }", "from 0 to 2147483647"),
            ('log = { level = "loud" }', '"debug" or "info" or "warning" or "error"'),
            ("data_dir = 5", "it must be a path"),
            ('log = "debug"', "log.level"),
            ('directory = { kind = "file" }', "set directory.path"),
            ('directory = { kind = "connect", token_file = "t" }', "set directory.url"),
            ('directory = { url = "https://example.org" }', 'set the kind to "connect"'),
            ('directory = { kind = "file", path = "/nowhere/at-all" }', "/nowhere/at-all"),
            ('stripe = { url = "nonsense" }', "stripe.url is"),
            ('stripe = { url = "http://127.0.0.1:1/v1" }', "and nothing behind it"),
            ('stripe = { url = "http://me@127.0.0.1:1" }', "and nothing behind it"),
            ('stripe = { timeout = "81s" }', "stripe.timeout is longer than 80s"),
            ("listen =", "is not TOML"),
        ],
    )
    def test_one_sentence_says_what_to_change(self, config: Path, toml: str, sentence: str) -> None:
        config.write_text(f"{toml}\n")

        (problem,) = problems_of(config)

        assert sentence in problem
        assert problem.endswith((".", "?"))

    @pytest.mark.parametrize(
        ("toml", "name", "nearest"),
        [
            ("ledger-interval = '1h'", "ledger-interval", "ledger_interval"),
            ("level = 'debug'", "level", "log.level"),
            ("log = { levle = 'debug' }", "log.levle", "log.level"),
            ("prices = { creditsPerMinute = {} }", "creditsPerMinute", "prices.credits_per_minute"),
        ],
    )
    def test_an_unknown_name_is_answered_with_the_nearest(
        self, config: Path, toml: str, name: str, nearest: str
    ) -> None:
        config.write_text(f"{toml}\n")

        (problem,) = problems_of(config)

        assert name in problem
        assert f"did you mean {nearest}?" in problem

    def test_all_problems_are_told_at_once(self, config: Path) -> None:
        config.write_text('listen = "x"\nstore = "y"\nshutdown_grace = "z"\n')

        assert 3 == len(problems_of(config))

    def test_a_problem_names_the_variable_or_the_file(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config.write_text('store = "y"\n')
        monkeypatch.setenv("USAGE_LEDGER_LISTEN", "x")

        told = "\n".join(problems_of(config))

        assert "from USAGE_LEDGER_LISTEN" in told
        assert str(config) in told

    @pytest.mark.parametrize(
        ("variable", "meant"),
        [
            ("USAGE_LEDGER_LISTN", "USAGE_LEDGER_LISTEN"),
            ("USAGE_LEDGER_LOG_LEVEL", "USAGE_LEDGER_LOG__LEVEL"),
        ],
    )
    def test_a_misspelt_variable_is_refused(
        self, variable: str, meant: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, "x")

        (problem,) = problems_of()

        assert meant in problem

    @pytest.mark.parametrize(
        "url",
        ["https://me:hunter2@example.org", "https://example.org?token=hunter2", "hunter2"],
    )
    def test_what_may_be_a_secret_is_not_repeated(self, config: Path, url: str) -> None:
        config.write_text(f'[directory]\nkind = "connect"\nurl = "{url}"\ntoken_file = "hunter2"\n')

        assert all("hunter2" not in problem for problem in problems_of(config))

    def test_a_token_file_that_is_missing_is_refused_without_its_name(self, config: Path) -> None:
        config.write_text(
            '[directory]\nkind = "connect"\nurl = "https://example.org"\ntoken_file = "hunter2"\n'
        )

        (problem,) = problems_of(config)

        assert "directory.token_file" in problem
        assert "hunter2" not in problem

    def test_a_file_that_is_not_there_is_named(self, config: Path) -> None:
        (problem,) = problems_of(config)

        assert f"{config} cannot be read" in problem


class TestDuration:
    @pytest.mark.parametrize(
        ("text", "milliseconds"),
        [
            ("15m", 900_000),
            ("1h", 3_600_000),
            ("10d", 864_000_000),
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1d2h3m4s5ms", 93_784_005),
        ],
    )
    def test_units_add_up(self, text: str, milliseconds: int) -> None:
        assert milliseconds == parse_duration(text)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "1",
            "-1h",
            "1.5h",
            "30m1h",
            "1h 30m",
            "\u0661h",
            "36501d",
            "9" * 5_000 + "s",
            5,
            None,
        ],
    )
    def test_anything_else_is_refused(self, text: object) -> None:
        with pytest.raises(ValueError, match="it must be a duration"):
            parse_duration(text)

    @given(st.integers(1, 36_500 * 86_400_000))
    def test_what_is_shown_is_read_back(self, milliseconds: int) -> None:
        assert milliseconds == parse_duration(format_duration(milliseconds))


class TestAddress:
    @pytest.mark.parametrize(
        ("listen", "address"),
        [
            ("127.0.0.1:0", ("127.0.0.1", 0)),
            ("[::1]:9001", ("::1", 9001)),
            ("0.0.0.0:65535", ("0.0.0.0", 65_535)),
            ("ledger.example.org:80", ("ledger.example.org", 80)),
        ],
    )
    def test_host_and_port(self, listen: str, address: tuple[str, int]) -> None:
        assert address == load_settings(listen=listen).listen_address


class TestKafka:
    def test_without_servers_there_is_no_bus(self) -> None:
        kafka = load_settings().kafka
        assert (None, "usage-ledger", "usage.events", "ledger.events") == (
            kafka.bootstrap_servers,
            kafka.group_id,
            kafka.topics.usage_events,
            kafka.topics.ledger_events,
        )

    def test_come_from_file_and_variables_two_groups_deep(
        self, config: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config.write_text(
            '[kafka]\nbootstrap_servers = "a:9092, b:9092"\n[kafka.topics]\nalerts = "x"'
        )
        monkeypatch.setenv("USAGE_LEDGER_KAFKA__TOPICS__METERS", "y")
        kafka = load_settings(config).kafka
        assert ("a:9092,b:9092", "x", "y") == (
            kafka.bootstrap_servers,
            kafka.topics.alerts,
            kafka.topics.meters,
        )

    @pytest.mark.parametrize(
        ("given", "sentence"),
        [
            (
                {"bootstrap_servers": "kafka"},
                "must be HOST:PORT, or several with commas between them",
            ),
            (
                {"topics": {"alerts": "usage alerts"}},
                "must be 1 to 249 letters, digits, dots, hyphens and underscores.",
            ),
            (
                {"topics": {"alerts": "usage.meters"}},
                "kafka.topics names one topic twice, but each must be a topic of its own.",
            ),
            (
                {"ca_file": __file__},
                "kafka.ca_file is set, so set kafka.tls = true, or remove it.",
            ),
            (
                {"tls": True, "cert_file": __file__},
                "kafka.cert_file and kafka.key_file belong together: set both or none.",
            ),
            (
                {"sasl_mechanism": "scram-sha-256", "sasl_username": "u"},
                "kafka.sasl_mechanism and kafka.sasl_password_file belong together",
            ),
            (
                {"sasl_username": "u"},
                "kafka.sasl_mechanism and kafka.sasl_username belong together: set both or none.",
            ),
            (
                {"sasl_mechanism": "plain", "sasl_username": "u", "sasl_password_file": __file__},
                "sends the password as it is, so set kafka.tls = true or use",
            ),
            (
                {"intake_batch_events": 100, "intake_buffered_events": 99},
                "kafka.intake_buffered_events must be at least kafka.intake_batch_events.",
            ),
            (
                {"tls": True, "ca_file": "/nowhere/ca.pem"},
                "kafka.ca_file names a file /nowhere/ca.pem that the service cannot read",
            ),
            (
                {
                    "sasl_mechanism": "scram-sha-512",
                    "sasl_username": "u",
                    "sasl_password_file": "/nowhere/s3cret",
                },
                "kafka.sasl_password_file names a file that the service cannot read: No",
            ),
        ],
    )
    def test_what_does_not_fit_is_refused(self, given: dict[str, Any], sentence: str) -> None:
        (problem,) = problems_of(kafka=given)
        assert sentence in problem
