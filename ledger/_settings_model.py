"""The settings as a model: names, defaults, what is allowed and what fits together."""

import datetime as dt
import os
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from billing.settings import TIMEOUT_SECONDS_MAX
from ledger._setting_values import (
    address,
    addresses,
    base_url,
    collector,
    database_urls,
    file_path,
    host_url,
    instant,
    kafka_name,
    one_of,
    parse_duration,
    quoted,
    rates,
    ratio,
    some_of,
    switch,
    texts,
    whole_number,
    whole_numbers,
)
from ledger.addresses import host_and_port, is_loopback

ENV_PREFIX = "USAGE_LEDGER_"
# int32 on the wire.
LIMIT_CREDITS_MAX = 2**31 - 1
SERVE_PARTS = ("intake", "project", "relay", "jobs", "views", "tree")
SHARDS_MAX = 1_000  # each has connections and threads of its own in every process

Milliseconds = Annotated[int, BeforeValidator(parse_duration)]
Switch = Annotated[bool, BeforeValidator(switch)]
FilePath = Annotated[Path, BeforeValidator(file_path)]
Limit = Annotated[int, whole_number(0, LIMIT_CREDITS_MAX)]
TopicName = Annotated[str, BeforeValidator(kafka_name)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SqliteSettings(_Group):
    # "full": what was answered survives a power cut; "normal": only the death of the process.
    synchronous: Annotated[Literal["full", "normal"], one_of("full", "normal")] = "full"


class JobSettings(_Group):
    """The ledger job's period is `ledger_interval`."""

    ledger_enabled: Switch = True
    reset_enabled: Switch = True
    reset_every: Milliseconds = 900_000
    # Signing of the trees' heads, where there is a key.
    heads_enabled: Switch = True
    heads_every: Milliseconds = 3_600_000


class PriceSettings(_Group):
    revision: Annotated[int, whole_number(1, LIMIT_CREDITS_MAX)] = 1
    # A table that is given replaces these, it does not add to them.
    credits_per_minute: Annotated[dict[str, Decimal], BeforeValidator(rates)] = {
        "default": Decimal("0.1666666667"),
        "g1-standard": Decimal("0.1666666667"),
        "g1-large": Decimal("0.3333333333"),
        "gitpodio-internal-xl": Decimal("0.3333333333"),
    }
    # None: in force as soon as it is recorded. The first list of a log is in force since ever.
    effective_from: Annotated[dt.datetime, BeforeValidator(instant)] | None = None


class SpendingLimitSettings(_Group):
    """Credits."""

    for_teams: Limit = 0
    for_users: Limit = 500
    min_for_users_on_stripe: Limit = 0


class DirectorySettings(_Group):
    """Who the members of organisations are: nobody knows, a file, or Gitpod's public API."""

    kind: Annotated[Literal["none", "file", "connect"], one_of("none", "file", "connect")] = "none"
    path: FilePath | None = None
    url: Annotated[str, BeforeValidator(base_url)] | None = None
    token_file: FilePath | None = None
    timeout: Milliseconds = 5_000

    @model_validator(mode="after")
    def _fits_its_kind(self) -> "DirectorySettings":
        needed = {"none": (), "file": ("path",), "connect": ("url", "token_file")}[self.kind]
        for name in ("path", "url", "token_file"):
            given = getattr(self, name) is not None
            if name in needed and not given:
                raise ValueError(f'directory.kind is "{self.kind}", so set directory.{name}')
            if given and name not in needed:
                kind = "file" if name == "path" else "connect"
                raise ValueError(
                    f'directory.{name} is set, but directory.kind is "{self.kind}": '
                    f'set the kind to "{kind}" or remove directory.{name}'
                )
        return self


class StripeSettings(_Group):
    """Billing over Stripe; without a key the service answers as one without billing."""

    secret_key_file: FilePath | None = None
    # Without it no webhooks are taken.
    webhook_secret_file: FilePath | None = None
    # Another address than Stripe's own: of a proxy, or of a double for tests.
    url: Annotated[str, BeforeValidator(host_url)] | None = None
    timeout: Milliseconds = 10_000  # of one try
    retries: Annotated[int, whole_number(0, 5)] = 2  # within one call
    # The meter, of formula `sum`, to which credits are reported.
    meter_id: str = ""
    meter_event_name: str = ""
    # Of new subscriptions, by currency.
    price_eur: str = ""
    price_usd: str = ""
    # Prices of earlier subscriptions whose invoices carry credits, too.
    other_prices: Annotated[tuple[str, ...], BeforeValidator(texts)] = ()
    # A hold on a card that nobody has used by then is released.
    hold_expiry: Milliseconds = 24 * 3_600_000

    @model_validator(mode="after")
    def _is_whole(self) -> "StripeSettings":
        if self.timeout > TIMEOUT_SECONDS_MAX * 1_000:
            raise ValueError(
                f"stripe.timeout is longer than {TIMEOUT_SECONDS_MAX:g}s, so lower it: nothing that"
                " Stripe does takes so long"
            )
        if self.secret_key_file is None:
            return self
        for name in ("meter_id", "meter_event_name", "price_eur", "price_usd"):
            if not getattr(self, name):
                raise ValueError(f"stripe.secret_key_file is set, so set stripe.{name}")
        return self

    @property
    def metered_prices(self) -> frozenset[str]:
        """Give the prices whose lines carry credits."""
        return frozenset({self.price_eur, self.price_usd, *self.other_prices})


class DeadLetterSettings(_Group):
    retention: Milliseconds = 90 * 86_400_000


class AuditSettings(_Group):
    """Who signs the heads of the trees over the log; read anew for each head."""

    # None: `secrets/audit-signing.key` in the data directory, if it is there.
    signing_key_file: FilePath | None = None
    # The public keys, also retired ones. None: `audit-keys.json` in the data directory.
    keys_file: FilePath | None = None


class ServeSettings(_Group):
    """What `serve` does beside answering calls; other processes may do it with PostgreSQL."""

    parts: Annotated[tuple[str, ...], some_of(*SERVE_PARTS)] = SERVE_PARTS


class PostgresSettings(_Group):
    """Where the shards lie; needed, and read, only with `store = "postgres"`."""

    # One a shard, the first shard's first; their passwords are never shown.
    urls: Annotated[tuple[str, ...], BeforeValidator(database_urls)] = ()
    # Instead of a password in each URL; read anew for each connection.
    password_file: FilePath | None = None
    # Connections for reading, of each shard and process.
    pool_size: Annotated[int, whole_number(4, 200)] = 12
    # True: an empty or older database is migrated by whoever starts first.
    migrate_at_start: Switch = False
    # True: a server that may lose what it has answered is let pass.
    allow_unsafe: Switch = False


class ShardSettings(_Group):
    """Each shard is a log of its own. With PostgreSQL there is one for each of `postgres.urls`."""

    count: Annotated[int, whole_number(1, SHARDS_MAX)] = 1
    # Those that take new payers, as numbers from 0; empty: all.
    open: Annotated[tuple[int, ...], BeforeValidator(whole_numbers)] = ()


class KafkaTopicSettings(_Group):
    """Names of the topics; `usage-ledger topics create` makes them."""

    usage_events: TopicName = "usage.events"
    dead_letters: TopicName = "usage.events.dead-letter"
    ledger_events: TopicName = "ledger.events"
    alerts: TopicName = "usage.alerts"
    meters: TopicName = "usage.meters"

    @model_validator(mode="after")
    def _differ(self) -> "KafkaTopicSettings":
        names = list(self.model_dump().values())
        if len(set(names)) != len(names):
            raise ValueError(
                "kafka.topics names one topic twice, but each must be a topic of its own"
            )
        return self


class KafkaSettings(_Group):
    """The bus. Without `bootstrap_servers` nothing here ever connects."""

    bootstrap_servers: Annotated[str, BeforeValidator(addresses)] | None = None
    group_id: Annotated[str, BeforeValidator(kafka_name)] = "usage-ledger"
    topics: KafkaTopicSettings = KafkaTopicSettings()
    # Stands in the keys of stored positions. None: the cluster's own ID, which no two have alike.
    # A name is for a cluster that was rebuilt under another ID from a copy of its disks.
    cluster_name: Annotated[str, BeforeValidator(kafka_name)] | None = None
    tls: Switch = False
    # None: the authorities that this machine trusts.
    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    sasl_mechanism: Annotated[
        Literal["none", "plain", "scram-sha-256", "scram-sha-512"],
        one_of("none", "plain", "scram-sha-256", "scram-sha-512"),
    ] = "none"
    sasl_username: str | None = None
    sasl_password_file: FilePath | None = None
    # Events of one partition that are stored in one transaction.
    intake_batch_events: Annotated[int, whole_number(1, 10_000)] = 2_000
    # Events that are read ahead of the store, over all partitions; a packed message may go beyond.
    intake_buffered_events: Annotated[int, whole_number(1, 1_000_000)] = 20_000
    # After so long without a sign of life the group gives a consumer's partitions to others.
    session_timeout: Milliseconds = 45_000
    compression: Annotated[
        Literal["none", "gzip", "lz4", "zstd"], one_of("none", "gzip", "lz4", "zstd")
    ] = "none"

    @model_validator(mode="after")
    def _fits_together(self) -> "KafkaSettings":
        if not self.tls:
            for name in ("ca_file", "cert_file", "key_file"):
                if getattr(self, name) is not None:
                    raise ValueError(f"kafka.{name} is set, so set kafka.tls = true, or remove it")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("kafka.cert_file and kafka.key_file belong together: set both or none")
        for name in ("sasl_username", "sasl_password_file"):
            given = getattr(self, name) is not None
            if given != (self.sasl_mechanism != "none"):
                raise ValueError(
                    f"kafka.sasl_mechanism and kafka.{name} belong together: set both or none"
                )
        if self.sasl_mechanism == "plain" and not self.tls:
            raise ValueError(
                'kafka.sasl_mechanism "plain" sends the password as it is, so set kafka.tls = true '
                'or use "scram-sha-512"'
            )
        if self.intake_buffered_events < self.intake_batch_events:
            raise ValueError(
                "kafka.intake_buffered_events must be at least kafka.intake_batch_events"
            )
        return self


class LiveViewSettings(_Group):
    """Live meters and spending alerts: the ledger folds them into its own rows, or Faust does."""

    folded_by: Annotated[Literal["ledger", "faust"], one_of("ledger", "faust")] = "ledger"
    faust_store: Annotated[Literal["memory", "rocksdb"], one_of("memory", "rocksdb")] = "memory"
    # None: `faust` in the data directory.
    faust_data_dir: FilePath | None = None


class LogSettings(_Group):
    level: Annotated[
        Literal["debug", "info", "warning", "error"], one_of("debug", "info", "warning", "error")
    ] = "info"
    format: Annotated[Literal["text", "json"], one_of("text", "json")] = "text"


class HttpSettings(_Group):
    """Health, metrics and POST /events; None: no HTTP."""

    listen: Annotated[str, BeforeValidator(address)] | None = None


class TlsSettings(_Group):
    """Files in PEM, read again when they change; for gRPC and HTTP alike."""

    cert_file: FilePath | None = None  # the certificate, then those between it and the root
    key_file: FilePath | None = None
    # Who signs clients' certificates; with it every gRPC client must show one.
    client_ca_file: FilePath | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> "TlsSettings":
        if (self.cert_file is None) != (self.key_file is None):
            given, missing = ("cert", "key") if self.cert_file else ("key", "cert")
            raise ValueError(
                f"tls.{given}_file is set without tls.{missing}_file: set both, or neither"
            )
        if self.client_ca_file is not None and self.cert_file is None:
            raise ValueError(
                "tls.client_ca_file is set, but the service has no certificate of its own: "
                "set tls.cert_file and tls.key_file, too"
            )
        return self


class AuthSettings(_Group):
    """Who may call, and what; read again when it changes. None: everybody who can connect."""

    tokens_file: FilePath | None = None


class TracingSettings(_Group):
    """None: nothing is traced, and that costs nothing."""

    otlp_endpoint: Annotated[str, BeforeValidator(collector)] | None = None
    # Of the calls that come without a trace of their own; one that is traced already goes on.
    sampling_ratio: Annotated[Decimal, BeforeValidator(ratio)] = Decimal(1)


def _data_home() -> Path:
    base = Path(os.environ.get("XDG_DATA_HOME", ""))
    return (base if base.is_absolute() else file_path("~/.local/share")) / "usage-ledger"


class Settings(BaseSettings):
    """Every setting of the service. Durations are whole milliseconds, limits are credits."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        # Variables stay text, so that our own validators read numbers without losing digits.
        enable_decoding=False,
        validate_default=False,
    )

    data_dir: FilePath = Field(default_factory=_data_home)
    listen: Annotated[str, BeforeValidator(address)] = "127.0.0.1:9001"
    store: Annotated[
        Literal["sqlite", "memory", "postgres"], one_of("sqlite", "memory", "postgres")
    ] = "sqlite"
    postgres: PostgresSettings = PostgresSettings()
    serve: ServeSettings = ServeSettings()
    sqlite: SqliteSettings = SqliteSettings()
    shards: ShardSettings = ShardSettings()
    ledger_interval: Milliseconds = 3_600_000
    jobs: JobSettings = JobSettings()
    prices: PriceSettings = PriceSettings()
    default_spending_limit: SpendingLimitSettings = SpendingLimitSettings()
    max_expected_runtime: Milliseconds = 10 * 86_400_000
    directory: DirectorySettings = DirectorySettings()
    # None: `secrets/free-credit.key` in the data directory.
    free_credit_key_file: FilePath | None = None
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    audit: AuditSettings = AuditSettings()
    stripe: StripeSettings = StripeSettings()
    kafka: KafkaSettings = KafkaSettings()
    live_views: LiveViewSettings = LiveViewSettings()
    log: LogSettings = LogSettings()
    http: HttpSettings = HttpSettings()
    tls: TlsSettings = TlsSettings()
    auth: AuthSettings = AuthSettings()
    # Listen beyond loopback although nobody is authenticated, or although tokens go in the clear.
    insecure: Switch = False
    tracing: TracingSettings = TracingSettings()
    shutdown_grace: Milliseconds = 20_000

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library names its parameters
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is handed in: `read_settings` reads the world, and knows where from."""
        return (init_settings,)

    @property
    def listen_address(self) -> tuple[str, int]:
        """Host without brackets, and port."""
        return host_and_port(self.listen)

    @property
    def http_address(self) -> tuple[str, int] | None:
        """Host without brackets, and port; None without HTTP."""
        return None if self.http.listen is None else host_and_port(self.http.listen)

    def exposures(self, *, grpc: bool = True) -> list[str]:
        """Name what other machines should not reach as it is, one sentence each.

        A role without gRPC does not listen on `listen`, though its settings may be those of all.
        """
        problems: list[str] = []
        listeners = (("listen", self.listen if grpc else None), ("http.listen", self.http.listen))
        for name, at in listeners:
            if at is None or is_loopback(host_and_port(at)[0]):
                continue
            if self.auth.tokens_file is None and self.tls.client_ca_file is None:
                problems.append(
                    f"{name} is {quoted(at)}, which other machines can reach, and nobody is "
                    "authenticated: set auth.tokens_file or tls.client_ca_file, listen on "
                    "127.0.0.1, or say --insecure (insecure = true)."
                )
            elif self.tls.cert_file is None:
                problems.append(
                    f"{name} is {quoted(at)}, which other machines can reach, and tokens would "
                    "cross the network in the clear: set tls.cert_file and tls.key_file, listen "
                    "on 127.0.0.1, or say --insecure (insecure = true)."
                )
        return problems

    @property
    def free_credit_key_path(self) -> Path:
        return self.free_credit_key_file or self.data_dir / "secrets" / "free-credit.key"

    @property
    def signing_key_path(self) -> Path:
        return self.audit.signing_key_file or self.data_dir / "secrets" / "audit-signing.key"

    @property
    def keys_path(self) -> Path:
        return self.audit.keys_file or self.data_dir / "audit-keys.json"

    @property
    def shard_count(self) -> int:
        """How many shards there are."""
        if self.store == "postgres":
            return max(len(self.postgres.urls), 1)
        return self.shards.count

    @property
    def open_shards(self) -> tuple[int, ...]:
        """The shards that take new payers."""
        return self.shards.open or tuple(range(self.shard_count))

    def price_rates(self) -> dict[str, Decimal]:
        """Credits per minute by workspace class, exact."""
        return dict(self.prices.credits_per_minute)
