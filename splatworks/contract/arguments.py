"""Arguments of a stage's script: the parser that the script uses, and the check of a message before a job starts."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from splatworks.contract.environment import FOLDERS
from splatworks.contract.nearest import nearest
from splatworks.contract.parameters import Folders, Parameter, ParameterError, parameters_of

EPILOG = "Each option can also come as PARAM_<NAME> in the environment or by its name in the file PARAMETERS_FILE."


def option_parser(parameters: Mapping[str, Parameter], description: str, **more: Any) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, epilog=EPILOG, allow_abbrev=False, **more)
    for name, parameter in parameters.items():
        allowed = f" [{parameter.allowed}]" if parameter.choices or parameter.range else ""
        default = "" if parameter.default in (None, "") else f" (default: {parameter.default})"
        text = f"{parameter.help}{allowed}{default}".replace("%", "%%")
        switch: dict[str, Any] = {"nargs": "?", "const": "true"} if parameter.kind is bool else {}
        metavar = parameter.kind.__name__.upper()
        parser.add_argument(parameter.option, dest=name, metavar=metavar, help=text, **switch)
    return parser


def check_arguments(kind: type, stage: str, arguments: Sequence[str]) -> None:
    """Refuse by ParameterError what the script of a stage would refuse, and folders outside the platform's own."""
    known = parameters_of(Folders) | parameters_of(kind)
    parser = option_parser(known, "", add_help=False, exit_on_error=False)
    parser.add_argument("-h", "--help", action="store_true")
    try:
        given, rest = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError as error:
        option = str(error.argument_name)
        parameter = next(each for each in known.values() if each.option == option)
        raise ParameterError(option, "(no value)", parameter.allowed, f"Give it a value: {option}=VALUE.") from None
    if rest:
        raise _unknown(stage, rest[0], [each.option for each in known.values()])
    for name, value in vars(given).items():
        if name in known and value is not None:
            _check_value(known[name], value)


def _unknown(stage: str, argument: str, options: Sequence[str]) -> ParameterError:
    option, _, _ = argument.partition("=")
    if option.startswith("-") and option != "--":
        fix = f"{stage} has no option {option}. {nearest(option, options)}"
    else:
        fix = f"{stage} takes options only: --name value, or --name=value."
    return ParameterError(option, argument, f"the options {', '.join(options)}", fix, is_unknown=True)


def _check_value(parameter: Parameter, value: str) -> None:
    if parameter.is_folder:
        _check_folder(parameter, value)
        return
    try:
        parameter.read(value)
    except ParameterError as error:
        raise ParameterError(parameter.option, value, error.allowed, error.fix) from None


def _check_folder(parameter: Parameter, value: str) -> None:
    """Results elsewhere would be lost, and a folder of the user's machine is not in the container."""
    folder = FOLDERS[parameter.name]
    path = PurePosixPath(value)
    if ".." in path.parts or not path.is_relative_to(folder):
        allowed = f"{folder} or a folder in it"
        raise ParameterError(parameter.option, value, allowed, f"Leave {parameter.option} out: the platform sets it.")
