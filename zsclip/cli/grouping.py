"""How a command takes a group of options as one parameter."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, get_type_hints

import typer


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default


class Typed:
    """A group that knows which of its options, by name, the user typed; what the environment says is not among them."""

    typed: Mapping[str, Any] = MappingProxyType({})


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take a group of options as one parameter: on the command line a dataclass is its fields."""
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, type[Any]] = {
        one.name: one.annotation
        for one in signature.parameters.values()
        if isinstance(one.annotation, type) and dataclasses.is_dataclass(one.annotation)
    }
    parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for one in signature.parameters.values():
        if one.name == "context":
            continue
        if one.name not in groups:
            parameters.append(one.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        hints = get_type_hints(groups[one.name], include_extras=True)
        parameters += [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=_default(field),
                annotation=hints[field.name],
            )
            for field in dataclasses.fields(groups[one.name])
        ]

    @functools.wraps(command)
    def run(context: typer.Context, **given: Any) -> None:
        made = {}
        for name, group in groups.items():
            values = {field.name: given.pop(field.name) for field in dataclasses.fields(group)}
            made[name] = group(**values)
            if isinstance(made[name], Typed):
                made[name].typed = {key: value for key, value in values.items() if _is_typed(context, key)}
        if "context" in signature.parameters:
            given["context"] = context
        command(**given, **made)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
