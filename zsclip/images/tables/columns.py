"""Which column of a table has the pictures: the one that is named, or the only one that fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from zsclip.errors import InputError

# What the cells of a column are: the bytes of a picture, these or a path in a struct, or text.
Kind: TypeAlias = Literal["bytes", "struct", "text", "other"]
_SHOWN = 30
# Names under which text is taken for paths or addresses without being told so.
_NAMES = frozenset({
    *("image", "img", "picture", "photo", "file", "path", "url", "uri", "src", "filename", "filepath"),
    *(f"{what}_{which}" for what in ("image", "img", "picture", "photo", "file") for which in ("url", "uri", "path", "name", "file")),
})  # fmt: skip


@dataclass(frozen=True)
class TableColumns:
    """The columns that are meant, by name: of pictures (None: the only one that fits), of ids that name the rows, and of labels."""

    picture: str | None = None
    ids: str | None = None
    labels: str | None = None

    def __str__(self) -> str:
        """What tells one way of reading a table from another."""
        named = {"column": self.picture, "id": self.ids}
        return "&".join(f"{key}={name}" for key, name in named.items() if name is not None)


@dataclass(frozen=True)
class Column:
    """A column as a table declares it: its `type` as it is shown, and of a struct the `parts` that make a picture.

    `is_image` says that the table itself calls it one of pictures; `classes` are the names of its whole numbers, if it has any.
    """

    name: str
    type: str
    kind: Kind
    parts: Sequence[str] = ()
    is_image: bool = False
    classes: Sequence[str] = ()


def picture_column(table: str, columns: Sequence[Column], named: str | None) -> Column:
    """The column of pictures; raises `InputError`, with all columns, where it is not there or none or several fit."""
    if named is not None:
        found = column_called(table, columns, named, "column")
        if found.kind == "other":
            raise InputError(
                f"{found.type} are no pictures.",
                where=f"{table}: `column={named}`",
                remedy=f"Pictures are binary, a struct of bytes and path, or text with paths or addresses. {_all(columns)}",
            )
        return found
    # What zsclip writes beside paths, for those that are no UTF-8.
    columns = [column for column in columns if column.name not in ("path_bytes", "name_bytes")]
    fitting = (
        [column for column in columns if column.is_image and column.kind != "other"],
        [column for column in columns if column.kind == "struct"],
        [column for column in columns if column.kind == "bytes"],
        [column for column in columns if column.kind == "text" and column.name.casefold() in _NAMES],
    )
    several = next(filter(None, fitting), [])
    if len(several) == 1:
        return several[0]
    what = f"{len(several)} columns may be of pictures" if several else "no column is clearly one of pictures"
    raise InputError(f"{what}.", where=table, remedy=f"Name one with `column=NAME`. {_all(columns)}")


def column_called(table: str, columns: Sequence[Column], name: str, setting: str) -> Column:
    """The column of that name; raises `InputError` if there is none, or several."""
    found = [column for column in columns if column.name == name]
    if len(found) == 1:
        return found[0]
    what = "several columns have this name." if found else "there is no such column."
    raise InputError(what, where=f"{table}: `{setting}={name}`", remedy=_all(columns))


def _all(columns: Sequence[Column]) -> str:
    if not columns:
        return "It has no columns."
    shown = ", ".join(f"{column.name} ({column.type})" for column in columns[:_SHOWN])
    return f"Its columns: {shown}{f' and {len(columns) - _SHOWN} more' if len(columns) > _SHOWN else ''}."
