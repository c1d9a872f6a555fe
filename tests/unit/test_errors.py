from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from functools import partial

import pytest

import otaria
from otaria import errors
from otaria.errors import OtariaError, ProtocolViolation, Refused

RUN_NOT_IMPORTED = re.compile(r"\.migrations\.|\.__main__$")
"""Scripts of the database tool, and of Python itself, which do their work while they are imported."""

DRAWN = re.compile(r"^ {4}(?P<indent> *)(?P<name>[A-Z]\w+)(?P<sentence> +\S.*?)??(?P<cure> {2,}exit (\d) +(\d{3}))?$")


def descendants(error: type[OtariaError]) -> Iterator[type[OtariaError]]:
    for child in error.__subclasses__():
        yield child
        yield from descendants(child)


@pytest.fixture(scope="module")
def every_error() -> list[type[OtariaError]]:
    """All errors of the whole package, wherever they are defined."""
    for module in pkgutil.walk_packages(otaria.__path__, "otaria."):
        if not RUN_NOT_IMPORTED.search(module.name):
            importlib.import_module(module.name)
    return sorted(set(descendants(OtariaError)), key=lambda error: error.__qualname__)


@pytest.fixture(scope="module")
def of_the_tree(every_error: list[type[OtariaError]]) -> list[type[OtariaError]]:
    """Those that the module of the tree defines itself."""
    return [error for error in every_error if error.__module__ == errors.__name__]


def drawing() -> list[re.Match[str]]:
    """The lines of the tree in the docstring."""
    assert errors.__doc__ is not None
    return [line for line in map(DRAWN.match, errors.__doc__.splitlines()) if line]


def drawn_parents() -> dict[str, str]:
    """Which error each drawn one stands below."""
    above: list[str] = []
    parents: dict[str, str] = {}
    for line in drawing():
        depth = len(line["indent"]) // 2
        del above[depth:]
        if above:
            parents[line["name"]] = above[-1]
        above.append(line["name"])
    return parents


def test_every_leaf_has_an_exit_code_and_an_http_status(every_error: list[type[OtariaError]]) -> None:
    leaves = [error for error in every_error if not error.__subclasses__()]
    unmapped = [
        leaf.__qualname__
        for leaf in leaves
        if getattr(leaf, "exit_code", 0) not in range(2, 8) or getattr(leaf, "http_status", 0) not in range(400, 600)
    ]
    assert leaves
    assert unmapped == []


def test_every_error_has_the_exit_code_of_its_group(every_error: list[type[OtariaError]]) -> None:
    groups = {error: next(filter(partial(issubclass, error), OtariaError.__subclasses__())) for error in every_error}
    strays = [error.__qualname__ for error, group in groups.items() if error.exit_code != group.exit_code]
    assert {group.__module__ for group in groups.values()} == {errors.__name__}
    assert strays == []


def test_every_group_has_an_exit_code_of_its_own() -> None:
    codes = [group.exit_code for group in OtariaError.__subclasses__()]
    assert len(set(codes)) == len(codes)


def test_the_docstring_draws_every_error_of_the_module_below_its_parent(of_the_tree: list[type[OtariaError]]) -> None:
    assert drawn_parents() == {error.__name__: error.__bases__[0].__name__ for error in of_the_tree}


def test_the_docstring_draws_the_codes_that_the_errors_have(of_the_tree: list[type[OtariaError]]) -> None:
    drawn = {line["name"]: (int(line[5]), int(line[6])) for line in drawing() if line["cure"]}
    stated = [error for error in of_the_tree if {"exit_code", "http_status"} & set(vars(error))]
    assert drawn == {error.__name__: (error.exit_code, error.http_status) for error in stated}


def test_the_module_offers_every_error_that_it_defines(of_the_tree: list[type[OtariaError]]) -> None:
    assert sorted(errors.__all__) == sorted(["OtariaError", *(error.__name__ for error in of_the_tree)])


def test_every_error_says_what_it_means_and_is_not_called_error(every_error: list[type[OtariaError]]) -> None:
    silent = [error.__qualname__ for error in every_error if not error.__doc__]
    misnamed = [error.__qualname__ for error in every_error if error.__name__.endswith(("Error", "Exception"))]
    assert (silent, misnamed) == ([], [])


def test_a_refusal_carries_the_devices_own_code() -> None:
    refused = Refused("The device refused.", code=4)
    assert (str(refused), refused.code) == ("The device refused.", 4)
    assert Refused("The policy refused.").code is None


def test_a_violation_carries_the_bytes_that_broke_the_protocol() -> None:
    violation = ProtocolViolation("The device answered nonsense.", received=b"\0\xff")
    assert (str(violation), violation.received) == ("The device answered nonsense.", b"\0\xff")
    assert ProtocolViolation("Nothing came.").received == b""
