"""Options of commands in groups: one dataclass per group instead of one parameter per option."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from inspect import Parameter, signature
from typing import Any, get_type_hints

from typer.models import OptionInfo


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a command that takes dataclasses into one that takes their fields.

    Typer makes an option of each parameter of a command and accepts no objects.
    """
    declared = signature(command, eval_str=True)
    groups: dict[str, type[Any]] = {
        name: parameter.annotation
        for name, parameter in declared.parameters.items()
        if isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation)
    }

    @wraps(command)
    def ungrouped(**values: Any) -> None:  # noqa: ANN401 - the values of any options
        grouped = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**values, **grouped)

    parameters: list[Parameter] = []
    for name, parameter in declared.parameters.items():
        if name in groups:
            parameters += _parameters(groups[name])
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))
    ungrouped.__signature__ = declared.replace(parameters=parameters)  # type: ignore[attr-defined] # `inspect` reads it
    return ungrouped


def option_names(group: type[Any]) -> dict[str, str]:
    """The names of a group's options, by field."""
    return {
        name: _option_name(name, hint.__metadata__[0])
        for name, hint in get_type_hints(group, include_extras=True).items()
    }


def _option_name(field: str, option: OptionInfo) -> str:
    # Within `Annotated` typer takes the first name for the default value.
    name = option.default
    return name.partition("/")[0] if isinstance(name, str) else f"--{field.replace('_', '-')}"


def _parameters(group: type[Any]) -> list[Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name])
        for field in fields(group)
    ]
