"""Ray's pickle, which takes functions and classes along that only this process knows; and what it lacks."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Mapping
from typing import Any

from ray import cloudpickle  # pyright: ignore[reportMissingImports] - an extra
from typing_extensions import TypedDict, is_typeddict


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Also takes along what ``TypedDict("State", {...})`` has made."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type) and is_typeddict(value) and not _is_found(value):
            kind: Any = value
            return _typed_dict, (kind.__name__, kind.__annotations__, kind.__total__, kind.__module__)
        return super().reducer_override(value)


def _is_found(kind: type) -> bool:
    module = sys.modules.get(kind.__module__)
    return kind.__module__ != "__main__" and getattr(module, kind.__qualname__, None) is kind


def _typed_dict(name: str, annotations: Mapping[str, Any], total: bool, module: str) -> Any:
    made: Any = TypedDict(name, dict(annotations), total=total)  # type: ignore[misc]
    made.__module__ = module
    return made


def dumps(value: Any) -> bytes:
    """Return ``value`` as bytes; raises what its pieces raise that can't be pickled."""
    file = io.BytesIO()
    Pickler(file).dump(value)
    return file.getvalue()


def loads(said: bytes) -> Any:
    """Return what was made bytes of: by a process of our own, as all that Ray brings."""
    return pickle.loads(said)  # noqa: S301 - who reaches Ray's ports, which Ray guards, is trusted
