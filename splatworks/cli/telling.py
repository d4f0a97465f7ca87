"""What people read on stderr; stdout is for what a program may read."""

from rich.console import Console
from rich.text import Text

from splatworks.cli.problems import REFUSED, Problem
from splatworks.planning.bad_input import BadInputError


def tell(text: str) -> None:
    """A line or more, never cut or coloured by what it says."""
    Console(stderr=True).print(Text(_writable(text)), soft_wrap=True)


def _writable(text: str) -> str:
    """A file's name need not be valid text, and no terminal takes half a character."""
    return text.encode(errors="backslashreplace").decode()


def end(problem: Problem) -> int:
    console = Console(stderr=True)
    console.print(Text.assemble(("error: ", "bold red"), _writable(problem.cause)), soft_wrap=True)
    if problem.fix:
        console.print(Text(_writable(problem.fix)), soft_wrap=True)
    return problem.exit_code


def refusal(refused: BadInputError) -> Problem:
    return Problem(
        f"the platform would refuse this message.\n  Field:    {refused.field}\n  Given:    {refused.given}\n"
        f"  Allowed:  {refused.allowed}\n  To do:    {refused.fix}",
        exit_code=REFUSED,
    )
