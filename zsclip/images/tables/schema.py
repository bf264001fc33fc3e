"""The columns of a Parquet file, as zsclip sees them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zsclip.images.tables.columns import Column, Kind

if TYPE_CHECKING:
    import pyarrow

_PARTS: dict[str, Kind] = {"bytes": "bytes", "path": "text"}  # of a struct, as `datasets` makes it


def columns_of(schema: pyarrow.Schema) -> list[Column]:
    """The columns, with what Hugging Face's `datasets` says of their features in the file's metadata."""
    features = _features(schema.metadata or {})
    return [_column(field, features.get(field.name)) for field in schema]


def _column(field: pyarrow.Field, feature: Any) -> Column:
    feature = feature if isinstance(feature, dict) else {}
    names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    return Column(
        field.name,
        str(field.type)[:200],
        _kind(field.type),
        _parts(field.type),
        feature.get("_type") == "Image",
        tuple(map(str, names)) if isinstance(names, list) else (),
    )


def _kind(type: pyarrow.DataType) -> Kind:
    import pyarrow.types as types

    if types.is_dictionary(type):
        return _kind(type.value_type)
    if types.is_binary(type) or types.is_large_binary(type) or types.is_binary_view(type):
        return "bytes"
    if types.is_string(type) or types.is_large_string(type) or types.is_string_view(type):
        return "text"
    return "struct" if _parts(type) else "other"


def _parts(type: pyarrow.DataType) -> tuple[str, ...]:
    import pyarrow.types as types

    if not types.is_struct(type):
        return ()
    places = {name: type.get_field_index(name) for name in _PARTS}  # -1 also where there are two
    return tuple(name for name, place in places.items() if place >= 0 and _kind(type.field(place).type) == _PARTS[name])


def _features(metadata: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}
