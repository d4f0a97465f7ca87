"""Options of a stage: its parameters and folders from the contract, read from four places.

The command line takes precedence over PARAM_<NAME>, that over parameters.json (PARAMETERS_FILE), that over the default.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from splatkit.errors import input_error
from splatworks.contract.arguments import option_parser
from splatworks.contract.environment import parameter_variable
from splatworks.contract.nearest import nearest
from splatworks.contract.parameters import Parameter, ParameterError, parameters_of

Options = TypeVar("Options")


def read_options(
    kind: type[Options], description: str, arguments: Sequence[str], environment: Mapping[str, str] = os.environ
) -> Options:
    """Raises StageError (input_error) naming the option, what was given and what is allowed."""
    parameters = parameters_of(cast(type, kind))
    given = vars(option_parser(parameters, description).parse_args(arguments))
    from_file = _parameters_file(environment)
    _refuse_unknown(parameters, from_file)
    values: dict[str, Any] = {}
    for name, parameter in parameters.items():
        for source, value in _sources(parameter, given, environment, from_file):
            values[name] = _read(parameter, value, source)
            break
    if missing := [parameter for name, parameter in parameters.items() if parameter.required and name not in values]:
        ways = ", ".join(
            f"{parameter.option} (or {parameter.name.upper()} in the environment)" for parameter in missing
        )
        raise input_error("missing_option", f"{ways} not given", "Give it.")
    return kind(**values)


def _parameters_file(environment: Mapping[str, str]) -> dict[str, Any]:
    path = environment.get("PARAMETERS_FILE")
    if not path or not Path(path).is_file():
        return {}
    try:
        values = json.loads(Path(path).read_text())
    except ValueError as problem:
        raise input_error("bad_parameters", f"{path} is not JSON: {problem}", "Give an object of options.") from problem
    if not isinstance(values, dict):
        raise input_error("bad_parameters", f"{path} holds a {type(values).__name__}", "Give an object of options.")
    return {name.lower().replace("-", "_"): value for name, value in values.items()}


def _refuse_unknown(parameters: Mapping[str, Parameter], names: Mapping[str, Any]) -> None:
    known = [name for name, parameter in parameters.items() if not parameter.is_folder]
    for name in names:
        if name not in known:
            raise input_error("unknown_parameter", f"this stage has no parameter {name!r}", nearest(name, known))


def _sources(
    parameter: Parameter, given: Mapping[str, Any], environment: Mapping[str, str], from_file: Mapping[str, Any]
) -> list[tuple[str, Any]]:
    """(Source, value) pairs of one parameter, highest precedence first."""
    name, variable = parameter.name, parameter_variable(parameter.name)
    found: list[tuple[str, Any]] = []
    if given[name] is not None:
        found.append((parameter.option, given[name]))
    if variable in environment:
        found.append((variable, environment[variable]))
    if name in from_file:
        found.append((f"parameters.json, {name}", from_file[name]))
    if parameter.is_folder and environment.get(name.upper()):
        found.append((name.upper(), environment[name.upper()]))
    return found


def _read(parameter: Parameter, value: Any, source: str) -> Any:
    try:
        return parameter.read(value)
    except ParameterError as problem:
        cause = f"{source} is {problem.given!r}; allowed is {problem.allowed}"
        raise input_error("bad_option", cause, problem.fix) from None
