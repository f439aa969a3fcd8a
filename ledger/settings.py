"""The settings: one frozen value, read once at start from options, environment and one TOML file.

An option beats an environment variable (`USAGE_LEDGER_LISTEN`, groups with two underscores:
`USAGE_LEDGER_LOG__LEVEL`), a variable beats the file, the file beats the default. Whatever is wrong
is refused with one sentence a problem. Secrets lie in files that settings name; a password in
`postgres.urls` is shown as stars.
"""

import difflib
import functools
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError
from pydantic_settings import EnvSettingsSource

from ledger._setting_values import (
    format_duration,
    parse_duration,
    quoted,
    readable,
    without_password,
)
from ledger._settings_model import (
    ENV_PREFIX,
    AuthSettings,
    DirectorySettings,
    KafkaSettings,
    LogSettings,
    Settings,
    StripeSettings,
    TlsSettings,
    TracingSettings,
)

__all__ = [
    "AuthSettings",
    "DirectorySettings",
    "KafkaSettings",
    "LoadedSettings",
    "LogSettings",
    "Origin",
    "SettingRow",
    "Settings",
    "SettingsError",
    "StripeSettings",
    "TlsSettings",
    "TracingSettings",
    "format_duration",
    "load_settings",
    "parse_duration",
    "read_settings",
]

# Variables with our prefix that are not settings of the service: the command line reads them.
OTHER_VARIABLES = frozenset(
    {
        "USAGE_LEDGER_TARGET",
        "USAGE_LEDGER_CONFIG",
        "USAGE_LEDGER_TOKEN_FILE",
        "USAGE_LEDGER_TLS_CA",
        "USAGE_LEDGER_CERT",
        "USAGE_LEDGER_KEY",
    }
)
# A variable this close to a known one is a slip of the pen. Others with our prefix are let pass:
# Kubernetes sets USAGE_LEDGER_SERVICE_HOST and its like for every service of that name.
MISSPELT_RATIO = 0.85
# An unknown name in the file is answered with the nearest known one, unless nothing comes near.
NEAREST_RATIO = 0.4
# A configuration is a page of text; a file beyond this was named by mistake.
FILE_BYTES_MAX = 1 << 20
# Their values are never repeated: somebody may have pasted the secret instead of its file's name.
UNQUOTED = frozenset(
    {
        "audit.signing_key_file",
        "directory.url",
        "directory.token_file",
        "free_credit_key_file",
        "kafka.key_file",
        "kafka.sasl_password_file",
        "postgres.urls",
        "postgres.password_file",
        "stripe.secret_key_file",
        "stripe.webhook_secret_file",
        "tls.key_file",
        "tracing.otlp_endpoint",
        "auth.tokens_file",
    }
)
# Files that must be there when the service starts.
READ_AT_START = (
    "directory.path",
    "directory.token_file",
    "kafka.ca_file",
    "kafka.cert_file",
    "kafka.key_file",
    "kafka.sasl_password_file",
    "postgres.password_file",
    "stripe.secret_key_file",
    "stripe.webhook_secret_file",
    "tls.cert_file",
    "tls.key_file",
    "tls.client_ca_file",
    "auth.tokens_file",
)

Origin = Literal["default", "file", "env", "option"]
_FILE_PATHS = {
    ("data_dir",),
    ("free_credit_key_file",),
    ("audit", "signing_key_file"),
    ("audit", "keys_file"),
    ("live_views", "faust_data_dir"),
    *(tuple(name.split(".")) for name in READ_AT_START),
}


class SettingsError(ValueError):
    """Settings that the service refuses to start with; the text has one sentence a problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class SettingRow:
    """One setting as people read it: durations as `1h30m`, rates and times as text."""

    name: str
    value: str | int | bool | dict[str, str] | None
    origin: Origin
    # The file or the variable; empty for a default or an option.
    where: str


@dataclass(frozen=True)
class LoadedSettings:
    """The settings, and where each that is not a default came from."""

    settings: Settings
    config: Path | None
    origins: Mapping[str, Origin]

    def rows(self) -> list[SettingRow]:
        """Every setting by its dotted name, in the order of the model."""
        rows = []
        for name in _names(Settings):
            origin = self.origins.get(name, "default")
            where = {"file": str(self.config), "env": _variable(name)}.get(origin, "")
            rows.append(SettingRow(name, _shown(self.settings, name), origin, where))
        return rows


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """The effective settings; `overrides` are the command line's, groups as dicts, None is unset.

    Raises SettingsError.
    """
    return read_settings(config, **overrides).settings


def read_settings(config: Path | None = None, **overrides: Any) -> LoadedSettings:
    """Like `load_settings`, and says where each value came from."""
    problems = _misspelt_variables()
    sources: tuple[tuple[Origin, Mapping[str, Any]], ...] = (
        ("file", _read_file(config) if config else {}),
        ("env", EnvSettingsSource(Settings)()),
        ("option", overrides),
    )
    origins: dict[str, Origin] = {}
    merged: dict[str, Any] = {}
    for origin, values in sources:
        for path, value in _leaves(Settings, values):
            if value is not None:
                _put(merged, path, value)
                origins[".".join(path)] = origin
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        problems += [_sentence(one, origins, config) for one in error.errors()]
        raise SettingsError(problems) from None
    problems += _unreadable_files(settings)
    if problems:
        raise SettingsError(problems)
    return LoadedSettings(settings=settings, config=config, origins=origins)


def _read_file(config: Path) -> dict[str, Any]:
    try:
        with config.open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
        # Decimal, because a float would not keep the digits of a price.
        values = tomllib.loads(text.decode(), parse_float=Decimal)
    except OSError as error:
        reason = error.strerror or "it cannot be read"
        problem = f"The configuration file {config} cannot be read: {reason}."
        raise SettingsError([problem]) from None
    except UnicodeDecodeError:
        raise SettingsError([f"The configuration file {config} is not text in UTF-8."]) from None
    except ValueError as error:
        raise SettingsError([f"The configuration file {config} is not TOML: {error}."]) from None
    if len(text) > FILE_BYTES_MAX:
        problem = f"The configuration file {config} is longer than {FILE_BYTES_MAX:,} bytes."
        raise SettingsError([problem])
    for path, value in _leaves(Settings, values):
        # A path in the file starts at the file, so that the service may start anywhere.
        if path in _FILE_PATHS and isinstance(value, str) and not value.startswith("~"):
            _put(values, path, str(config.absolute().parent / value) if value.strip() else value)
    return values


def _put(values: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    *groups, leaf = path
    place: Any = values
    for group in groups:
        place = place.setdefault(group, {})
        if not isinstance(place, dict):
            return  # a value stands where a group belongs: the model refuses it
    place[leaf] = value


def _group(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    field = model.model_fields.get(name)
    annotation: object = field.annotation if field else None
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


def _group_at(path: list[str]) -> type[BaseModel] | None:
    group: type[BaseModel] | None = Settings
    for name in path:
        group = _group(group, name) if group else None
    return group


def _leaves(
    model: type[BaseModel], values: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], object]]:
    """What a source gives, setting by setting; a table that is a value stays whole."""
    for name, value in values.items():
        group = _group(model, name)
        if group and isinstance(value, Mapping):
            for path, leaf in _leaves(group, value):
                yield (name, *path), leaf
        else:
            yield (name,), value


def _names(model: type[BaseModel]) -> Iterator[str]:
    for name in model.model_fields:
        group = _group(model, name)
        if group:
            yield from (f"{name}.{inner}" for inner in _names(group))
        else:
            yield name


def _variable(name: str) -> str:
    return ENV_PREFIX + name.replace(".", "__").upper()


def _nearest(name: str) -> str:
    known = list(_names(Settings))
    by_leaf = {one.rpartition(".")[2]: one for one in reversed(known)}
    near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=NEAREST_RATIO)
    leaf = difflib.get_close_matches(name.lower(), by_leaf, n=1, cutoff=MISSPELT_RATIO)
    if leaf and "." not in name:
        near = [by_leaf[leaf[0]]]
    return f"did you mean {near[0]}?" if near else "`usage-ledger config show` lists all settings."


def _misspelt_variables() -> list[str]:
    known = {_variable(name): name for name in _names(Settings)}
    groups = {_variable(name.partition(".")[0]) for name in known.values() if "." in name}
    problems = []
    for variable in sorted(os.environ):
        bare = variable.removeprefix(ENV_PREFIX)
        if bare == variable or variable in known.keys() | groups | OTHER_VARIABLES:
            continue
        if variable.rpartition("__")[0].partition("__")[0] in groups:
            continue  # a name in a group that is known: the model judges it
        near = difflib.get_close_matches(
            bare, [one.removeprefix(ENV_PREFIX) for one in known], n=1, cutoff=MISSPELT_RATIO
        )
        if near:
            problems.append(
                f"The environment variable {variable} is no setting; "
                f"did you mean {ENV_PREFIX}{near[0]}?"
            )
    return problems


def _sentence(error: Any, origins: Mapping[str, Origin], config: Path | None) -> str:
    """One sentence on one of pydantic's errors: the setting, the wrong value, what to change."""
    path = [str(part) for part in error["loc"]]
    name = ".".join(path)
    origin = origins.get(name)
    where = {"file": f"in {config}", "env": f"from {_variable(name)}", "option": "as option"}.get(
        origin or "", ""
    )
    if error["type"] == "extra_forbidden":
        return f"{name}{f' ({where})' if where else ''} is no setting; {_nearest(name)}"
    group = _group_at(path)
    if group and error["type"] == "value_error":
        return f"{error['ctx']['error']}."
    if group:
        inner = f"{name}.{next(iter(group.model_fields))}"
        return (
            f"{name} ({where}) is a group of settings and has no value of its own; "
            f"set for example {inner}, as a variable {_variable(inner)}."
        )
    is_ours = error["type"] == "value_error"
    allowed = str(error["ctx"]["error"]) if is_ours else f"that is not allowed: {error['msg']}"
    value = f"is {quoted(error['input'])}" if name not in UNQUOTED else "is set"
    return f"{name} {value} ({where or 'default'}), but {allowed}."


def _unreadable_files(settings: Settings) -> list[str]:
    problems = []
    for name in READ_AT_START:
        path: Path | None = _value(settings, name)
        if path is None:
            continue
        shown = f" {path}" if name not in UNQUOTED else ""
        try:
            with path.open("rb"):
                pass
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it cannot be opened"
            problems.append(f"{name} names a file{shown} that the service cannot read: {reason}.")
    return problems


def _value(settings: Settings, name: str) -> Any:
    return functools.reduce(getattr, name.split("."), settings)


def _shown(settings: Settings, name: str) -> str | int | bool | dict[str, str] | None:
    if name == "free_credit_key_file":
        return str(settings.free_credit_key_path)
    if name == "audit.signing_key_file":
        return str(settings.signing_key_path)
    if name == "audit.keys_file":
        return str(settings.keys_path)
    group, _, leaf = name.rpartition(".")
    model: Any = _value(settings, group) if group else settings
    value = getattr(model, leaf)
    readers = (getattr(part, "func", None) for part in type(model).model_fields[leaf].metadata)
    if parse_duration in readers:
        return format_duration(value)
    if name == "postgres.urls":
        value = tuple(map(without_password, value))
    return readable(value)
