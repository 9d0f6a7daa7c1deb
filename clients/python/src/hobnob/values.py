"""How values stand in JSON: dataclasses as objects, bytes as base64, times as RFC 3339."""
from __future__ import annotations

import base64
import dataclasses
import os
import types
import typing
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

A = TypeVar("A")

Bytes: TypeAlias = bytes
"""Bytes. JSON carries them as base64."""
Time: TypeAlias = datetime
"""A time with a time zone. JSON carries it as RFC 3339."""
LocalPath: TypeAlias = str | os.PathLike[str]
"""A path of this machine."""


class Request(Generic[A]):
    """A request. `A` is the type of its answer."""

    CMD: ClassVar[str]
    ANSWER: ClassVar[type]


class Event:
    """An event."""

    EVENT: ClassVar[str]


@dataclass(kw_only=True)
class UnknownEvent(Event):
    """An event that only a newer version of hobnob knows."""

    event: str
    fields: dict[str, Any]


def encode(value: Any) -> Any:
    """The JSON form of a value. Fields that are None are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name.rstrip("_"), getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: encode(item) for name, item in pairs if item is not None}
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time needs a time zone: datetime.now(timezone.utc)")
        return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    if isinstance(value, os.PathLike):
        path = os.fsencode(value)
        try:
            return path.decode()
        except UnicodeDecodeError:
            return {"bytes": encode(path)}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    return value


def decode(kind: Any, value: Any) -> Any:
    """The value of a type from its JSON form. Fields that the type does not have are ignored, as
    newer versions of hobnob may write more of them."""
    if value is None:
        return None
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kinds = [part for part in typing.get_args(kind) if part is not type(None)]
        return decode(kinds[0], value) if len(kinds) == 1 else value
    if typing.get_origin(kind) is list:
        (item,) = typing.get_args(kind)
        return [decode(item, part) for part in value]
    if dataclasses.is_dataclass(kind):
        hints = _hints(typing.cast(type, kind))
        given = {
            name: decode(hint, value[name.rstrip("_")])
            for name, hint in hints.items()
            if name.rstrip("_") in value
        }
        return typing.cast(Any, kind)(**given)
    if kind is bytes:
        return base64.b64decode(value, validate=True)
    if kind is datetime:
        return datetime.fromisoformat(value)
    return value


@lru_cache(maxsize=None)
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(typing.cast(Any, kind))}
