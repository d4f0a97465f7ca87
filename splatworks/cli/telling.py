"""Text for people on stderr; stdout is for programs."""

from rich.console import Console
from rich.text import Text

from splatworks.contract.failures import FailureError
from splatworks.planning.bad_input import BadInputError


def tell(text: str) -> None:
    """Print one or more lines, never cut or coloured by their content."""
    Console(stderr=True).print(Text(_writable(text)), soft_wrap=True)


def end(error: FailureError) -> int:
    """Print cause and fix; return the exit code of the command."""
    console = Console(stderr=True)
    cause, fix = _refusal(error) if isinstance(error, BadInputError) else (error.cause, error.fix)
    console.print(Text.assemble(("error: ", "bold red"), _writable(cause)), soft_wrap=True)
    if fix:
        console.print(Text(_writable(fix)), soft_wrap=True)
    return int(error.exit_code)


def _refusal(refused: BadInputError) -> tuple[str, str]:
    """The fields of the refusal, one a line, as the e-mail shows them."""
    cause = (
        f"the platform would refuse this message.\n  Field:    {refused.field}\n  Given:    {refused.given}\n"
        f"  Allowed:  {refused.allowed}"
    )
    return cause, f"  To do:    {refused.fix}"


def _writable(text: str) -> str:
    """A file's name need not be valid text, and no terminal takes half a character."""
    return text.encode(errors="backslashreplace").decode()
