"""How published events look in JSON in their common spelling: what the typed decoders accept."""

from __future__ import annotations

from typing import Any

import msgspec


class Envelope(msgspec.Struct, gc=False):
    specversion: str
    id: str
    source: str
    type: str
    subject: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    data_base64: str | None = None


class StartedData(msgspec.Struct, gc=False, rename="camel", forbid_unknown_fields=True):
    workspace_instance_id: str | None = None
    attribution_id: str | None = None
    workspace_id: str | None = None
    workspace_class: str | None = None
    workspace_type: str | None = None
    context_url: str | None = None
    user_id: str | None = None
    user_name: str | None = None
    user_avatar_url: str | None = msgspec.field(default=None, name="userAvatarUrl")
    project_id: str | None = None
    creation_time: str | None = None
    started_time: str | None = None


class StoppingData(msgspec.Struct, gc=False, rename="camel", forbid_unknown_fields=True):
    workspace_instance_id: str | None = None
    attribution_id: str | None = None
    stopping_time: str | None = None


class StoppedData(msgspec.Struct, gc=False, rename="camel", forbid_unknown_fields=True):
    workspace_instance_id: str | None = None
    attribution_id: str | None = None
    stopped_time: str | None = None


class NoteData(msgspec.Struct, gc=False, rename="camel", forbid_unknown_fields=True):
    attribution_id: str | None = None
    credits: int | None = None
    description: str | None = None
    user_id: str | None = None


class Usual(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An envelope in its usual spelling, without extensions; its data are typed by the subclass."""

    specversion: str
    id: str
    source: str
    type: str
    data: Any
    subject: str | None = None
    time: str | None = None
    datacontenttype: str | None = None


class UsualStarted(Usual, gc=False, forbid_unknown_fields=True):
    data: StartedData


class UsualStopping(Usual, gc=False, forbid_unknown_fields=True):
    data: StoppingData


class UsualStopped(Usual, gc=False, forbid_unknown_fields=True):
    data: StoppedData
