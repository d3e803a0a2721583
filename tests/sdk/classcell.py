"""Lets the SDK's classes be made on Python 3.8 and later, without touching its files. Import it before `syncano`.

Its metaclass passes on a namespace without `__classcell__`, which Python refuses since 3.8 in classes that use `super()`.
Here such a class is made once more, and its cell is filled from outside.
"""

import builtins
import types
from typing import Any

_build_class = builtins.__build_class__


def _build_class_and_fill_its_cell(body: types.FunctionType, name: str, *bases: Any, **keywords: Any) -> type:
    try:
        return _build_class(body, name, *bases, **keywords)
    except RuntimeError as error:
        if "__classcell__" not in str(error):
            raise
    metaclass, namespace, keywords = types.prepare_class(name, bases, keywords)
    exec(body.__code__, body.__globals__, namespace, closure=body.__closure__)
    cell = namespace.pop("__classcell__")
    cell.cell_contents = metaclass(name, bases, namespace, **keywords)
    return cell.cell_contents


builtins.__build_class__ = _build_class_and_fill_its_cell
