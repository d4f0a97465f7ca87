"""Typed parameters: what a range allows, how a value is read, and what an error says."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from splatworks.contract.parameters import Folders, ParameterError, Range, check_parameters, parameters_of


@dataclass(frozen=True, kw_only=True)
class Base:
    base_count: Annotated[int, Range(0, 9)] = 1  # of the base class


@dataclass(frozen=True, kw_only=True)
class Example(Base):
    count: Annotated[int, Range(1, 8)] = 3  # how many
    # a comment above,
    # of two lines
    share: Annotated[float, Range(0, 1, also=(-1,))] = 0.5  # and one after
    order: Literal["auto", "plas"] = "auto"  # of the file
    fast: bool = False  # a switch
    free: float = 0.0  # without a range
    title: str = ""  # any text
    octave: Annotated[int | None, Range(-1, 3)] = None  # may be absent


def read(name: str, given: Any) -> Any:
    return parameters_of(Example)[name].read(given)


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Range(1, 8), "from 1 to 8"),
        (Range(0.001, 20), "from 0.001 to 20"),
        (Range(least=0), "at least 0"),
        (Range(most=2.5), "at most 2.5"),
        (Range(100, 100_000_000, also=(0,)), "from 100 to 100000000 or 0"),
        (Range(0, 1, also=(-1, 7)), "from 0 to 1 or -1 or 7"),
    ],
)
def test_a_range_says_what_it_allows(limits: Range, text: str) -> None:
    assert str(limits) == text


@pytest.mark.parametrize(
    ("limits", "inside", "outside"),
    [
        (Range(1, 8), (1, 8, 4.5), (0, 9, 0.999, -1)),
        (Range(least=0), (0, 10**30), (-1, -0.001)),
        (Range(most=2.5), (2.5, -(10**30)), (2.51,)),
        (Range(64, 128, also=(0, -1)), (64, 0, -1), (1, 63, 129, -2)),
    ],
)
def test_a_range_contains_its_ends_and_the_values_beside_it(
    limits: Range, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    assert all(value in limits for value in inside)
    assert not any(value in limits for value in outside)


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("count", 8, 8),
        ("count", " 2 ", 2),
        ("share", 1, 1.0),
        ("share", "0.25", 0.25),
        ("share", -1, -1.0),
        ("order", "plas", "plas"),
        ("fast", True, True),
        ("fast", "Yes", True),
        ("fast", 0, False),
        ("title", 7, "7"),
        ("octave", -1, -1),
        ("base_count", 0, 0),
    ],
)
def test_a_value_is_read_from_json_and_from_text(name: str, given: Any, value: Any) -> None:
    found = read(name, given)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("count", 9),
        ("count", 0),
        ("count", "9" * 5000),
        ("count", 10**400),
        ("count", 2.5),
        ("count", "3.0"),
        ("count", True),
        ("count", None),
        ("count", [3]),
        ("count", ""),
        ("share", "nan"),
        ("free", "nan"),
        ("free", "-inf"),
        ("free", 10**400),
        ("share", float("nan")),
        ("share", "inf"),
        ("share", float("-inf")),
        ("share", "1e999"),
        ("share", 10**400),
        ("share", 1.0001),
        ("order", "AUTO"),
        ("order", ""),
        ("fast", "perhaps"),
        ("fast", 2),
        ("octave", "None"),
    ],
)
def test_a_value_out_of_range_or_of_another_type_is_refused(name: str, given: Any) -> None:
    with pytest.raises(ParameterError) as refused:
        read(name, given)
    parameter = parameters_of(Example)[name]
    assert (refused.value.name, refused.value.given) == (name, given) or given != given
    assert refused.value.allowed == parameter.allowed
    assert parameter.allowed in refused.value.fix
    assert not refused.value.is_unknown


def test_what_is_allowed_is_said_in_words() -> None:
    allowed = {name: each.allowed for name, each in parameters_of(Example).items()}
    assert allowed == {
        "base_count": "a whole number from 0 to 9",
        "count": "a whole number from 1 to 8",
        "share": "a number from 0 to 1 or -1",
        "order": "one of auto, plas",
        "fast": "true or false",
        "free": "a number",
        "title": "text",
        "octave": "a whole number from -1 to 3",
    }


def test_comments_of_a_class_and_its_bases_are_the_help() -> None:
    texts = {name: each.help for name, each in parameters_of(Example).items()}
    assert texts["base_count"] == "of the base class"
    assert texts["count"] == "how many"
    assert texts["share"] == "a comment above, of two lines and one after"


def test_kinds_and_defaults_are_those_of_the_fields() -> None:
    found = parameters_of(Example)
    assert {name: each.kind for name, each in found.items()} == {
        "base_count": int,
        "count": int,
        "share": float,
        "order": str,
        "fast": bool,
        "free": float,
        "title": str,
        "octave": int,
    }
    assert (found["share"].default, found["share"].required) == (0.5, False)


def test_names_count_in_any_case() -> None:
    check_parameters(Example, "example", {"Count": 3, "FAST": True})
    with pytest.raises(ParameterError, match="count is 9"):
        check_parameters(Example, "example", {"COUNT": 9})


def test_an_unknown_name_is_answered_with_the_nearest_and_the_known_ones() -> None:
    with pytest.raises(ParameterError) as refused:
        check_parameters(Example, "example", {"cuont": 3})
    assert refused.value.is_unknown
    assert "example has no parameter cuont" in refused.value.fix and "count" in refused.value.fix
    assert "base_count, count, share" in refused.value.allowed


def test_a_message_cannot_set_the_folders() -> None:
    @dataclass(frozen=True, kw_only=True)
    class WithFolders(Folders, Example):
        pass

    folders = {name for name, each in parameters_of(WithFolders).items() if each.is_folder}
    assert folders == {"input_dir", "output_dir", "checkpoint_dir", "models_dir"}
    assert parameters_of(WithFolders)["input_dir"].required
    assert parameters_of(WithFolders)["checkpoint_dir"].kind is Path
    with pytest.raises(ParameterError, match="input_dir"):
        check_parameters(WithFolders, "example", {"input_dir": "/etc"})
