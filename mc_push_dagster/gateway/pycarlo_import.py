"""Import pycarlo without the 136,000 lines of its GraphQL schema, which pushing never uses.

The schema costs a second and 150 MB and prints warnings about enum values that it does not know itself. `pycarlo.core`
only stores a reference to it, so a module that loads itself at the first use of anything in it is enough. Nothing of
pycarlo is changed: whoever does use the schema, here or elsewhere in the process, finds the real one.
"""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

_SCHEMA = "pycarlo.lib.schema"
_lock = threading.RLock()
_loading = False


class _Deferred(ModuleType):
    """The schema module before its first use; it becomes the real one in place."""

    def __getattr__(self, name: str) -> Any:
        global _loading
        # The import system asks every module for these; they are no use of the schema.
        if name in ("__path__", "__file__", "__all__", "__wrapped__"):
            raise AttributeError(name)
        with _lock:
            if _loading:  # the schema's own code, by this very thread, asks for a name that is not there (yet)
                raise AttributeError(f"module {_SCHEMA!r} has no attribute {name!r}")
            if isinstance(self, _Deferred):
                _loading = True
                try:
                    _become_real(self)
                finally:
                    _loading = False
        return ModuleType.__getattribute__(self, name)


def _become_real(module: ModuleType) -> None:
    assert module.__spec__ is not None
    assert module.__spec__.loader is not None
    with _silent("pycarlo.lib.types"):
        module.__spec__.loader.exec_module(module)
    module.__class__ = ModuleType


@contextmanager
def without_schema() -> Iterator[None]:
    """Within the block, importing pycarlo leaves its schema for later; without effect if it is loaded already."""
    with _lock:
        if _SCHEMA not in sys.modules:
            _defer()
        yield


def _defer() -> None:
    parent = importlib.import_module("pycarlo.lib")
    spec = find_spec(_SCHEMA)
    assert spec is not None, f"{_SCHEMA} is gone from pycarlo"
    module = module_from_spec(spec)
    module.__class__ = _Deferred
    sys.modules[_SCHEMA] = module
    parent.schema = module  # type: ignore[attr-defined]  # what the import system does after loading


@contextmanager
def _silent(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
