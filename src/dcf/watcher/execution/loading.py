"""Imports and constructs the author's handler."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import inspect
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from dcf.errors import HandlerImportFailed, HandlerInitFailed, HandlerNotFound
from dcf.watcher.execution import forking
from dcf.watcher.tracebacks import author_traceback, summary

Handler = Callable[[Any], Any]

logger = logging.getLogger("dcf.watcher")


def enter(root: Path, handler_dir: str, handler_file: str) -> Path:
    """Make the handler's folder the working directory and the first place for imports.

    Returns:
        The folder.

    Raises:
        HandlerNotFound: If the folder does not exist.
    """
    folder = (root / handler_dir).resolve()
    if not folder.is_dir():
        raise HandlerNotFound(f"the handler's folder {handler_dir} is not in the function's folder")
    os.chdir(folder)
    warn_of_names(folder, handler_file)
    sys.path.insert(0, str(folder))
    return folder


def warn_of_names(folder: Path, handler_file: str) -> None:
    """Log which modules in ``folder`` have the same name as another module.

    A process has one module per name, so the author's code gets the modules that the watcher has
    imported already. Python looks up any other name in the author's folder first. The handler's own
    file may have any name, because it is not imported by name.
    """
    for entry in sorted(folder.iterdir()):
        is_package = (entry / "__init__.py").is_file()
        name = entry.stem if entry.suffix == ".py" else entry.name
        if not is_package and entry.suffix != ".py":
            continue
        if entry.name == handler_file or name.startswith("__"):
            continue
        if name in sys.modules:
            logger.warning(
                "%s cannot be imported: 'import %s' gives %s, which is loaded already. Rename it.",
                entry.name, name, _origin(name),
            )  # fmt: skip
        elif name in sys.stdlib_module_names:
            logger.warning(
                "%s takes the place of Python's own module %s, in every package that imports it."
                " Rename it.",
                entry.name, name,
            )  # fmt: skip


def _origin(name: str) -> str:
    if name in sys.stdlib_module_names:
        return f"Python's own module {name}"
    return f"the package {name}"


def import_handler(folder: Path, file: str, name: str) -> Any:
    """Import the handler's file and return the class or function in it.

    Raises:
        HandlerNotFound: If the file, or the name in it, is missing.
        HandlerImportFailed: If the file cannot be imported.
    """
    path = folder / file
    if not path.is_file():
        names = ", ".join(sorted(entry.name for entry in folder.glob("*.py")))
        raise HandlerNotFound(
            f"expected {file} in {folder.name}/, found {names or 'no Python file'}"
        )
    module = _import(path)
    target = getattr(module, name, None)
    if target is None:
        raise HandlerNotFound(f"{file} has no {name}{_instead(path, name)}")
    if not callable(target):
        raise HandlerNotFound(
            f"expected {name} in {file} to be a class or a function, got {target!r:.80}"
        )
    return target


def construct(target: Any) -> Handler:
    """Return the handler: an instance if ``target`` is a class, otherwise ``target``.

    Raises:
        HandlerNotFound: If it cannot be called with one request.
        HandlerInitFailed: If the constructor raises.
    """
    handler: Handler = target
    if inspect.isclass(target):
        if not any("__call__" in vars(base) for base in target.__mro__):
            raise HandlerNotFound(f"the class {target.__name__} has no method __call__(self, req)")
        try:
            handler = cast("Handler", target())
            forking.leave_children()
        except BaseException as error:  # the author's sys.exit included
            forking.leave_children(error)
            message = f"{target.__name__}() failed: {summary(error)}"
            raise HandlerInitFailed(message, author_traceback(error)) from error
    try:
        inspect.signature(handler).bind(None)
    except TypeError as error:
        name = getattr(target, "__name__", "Handler")
        message = f"{name} cannot be called with one request: {error}"
        raise HandlerNotFound(message) from error
    except ValueError:
        # A callable written in C may have no signature.
        return handler
    return handler


def is_async(target: Any) -> bool:
    """Return whether a call of the handler returns an awaitable."""
    call = _called(target)
    return inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)


def is_generator(target: Any) -> bool:
    """Return whether the handler yields, so that one call of it replies to a whole stream."""
    call = _called(target)
    return inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call)


def _called(target: Any) -> Any:
    """Return the function that runs when the handler is called."""
    if inspect.isroutine(target):
        return target
    kind = target if inspect.isclass(target) else type(target)
    return kind.__call__


def _import(path: Path) -> ModuleType:
    # If a module of this name is loaded already, other code uses it.
    name = f"handler_{path.stem}" if path.stem in sys.modules else path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HandlerNotFound(f"expected a Python file, got {path.name}")
    module = importlib.util.module_from_spec(spec)
    # Register it under its own name, as an import does: pickles and circular imports need it.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        forking.leave_children()
    except BaseException as error:  # the author's sys.exit included
        forking.leave_children(error)
        message = f"{path.name} could not be imported: {summary(error)}"
        raise HandlerImportFailed(message, author_traceback(error)) from error
    return module


def _instead(path: Path, name: str) -> str:
    defined = [
        node.name
        for node in ast.parse(path.read_bytes()).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    if not defined:
        return "; it defines neither a class nor a function"
    near = difflib.get_close_matches(name, defined, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f" (found {', '.join(defined)}){hint}"
