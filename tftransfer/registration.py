"""The package's classes become known to Keras as soon as Keras is there, so that files that name them load.

`import tftransfer` does not import Keras, since that takes seconds; and Keras finds the classes that a file names
only among those that were registered, by the modules that hold them. So these modules are imported when the user
imports Keras, or any part of the package that does.
"""

import contextlib
import importlib
import sys
import types

_HOLDERS = ("layers", "objectives", "policies", "tasks")
_PACKAGE = __package__


def register_classes():
    """Imports the modules whose classes files name, if Keras is there; not in the middle of another import."""
    if "keras" in sys.modules and not _is_importing():
        for name in _HOLDERS:
            importlib.import_module(f"{_PACKAGE}.{name}")


def watch_imports():
    """Calls `register_classes` after Keras, and after any part of the package, was imported."""
    sys.modules[_PACKAGE].__class__ = _Package
    if "keras" in sys.modules:
        register_classes()
    else:
        sys.meta_path.insert(0, _AfterKeras())


def _is_importing():
    """Whether a part of the package is half imported: what would import it now would find names missing."""
    parts = [module for name, module in list(sys.modules.items()) if name.startswith(f"{_PACKAGE}.")]
    return any(getattr(getattr(part, "__spec__", None), "_initializing", False) for part in parts)


class _Package(types.ModuleType):
    """A package whose parts are bound to it once they are imported, which is the moment to register."""

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if isinstance(value, types.ModuleType):
            register_classes()

    def __reduce__(self):
        """By its name, when a function that uses it is sent to another process (Ray, Spark, joblib)."""
        return importlib.import_module, (self.__name__,)


class _AfterKeras:
    """A finder that finds `keras` by the others, and registers when its import is done."""

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                if self in sys.meta_path:
                    sys.meta_path.remove(self)
                with contextlib.suppress(ImportError):  # ours to raise when it is used, not Keras's
                    register_classes()

            spec.loader.exec_module = exec_module
        return spec
