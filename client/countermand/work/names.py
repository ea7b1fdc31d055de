"""Names for work that was given none."""

import functools


def name_of(function: object) -> str:
    """Name a function as a person would: what it is called, without the place it is written in."""
    while isinstance(function, functools.partial):
        function = function.func
    full = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(full).rpartition("<locals>.")[2]
