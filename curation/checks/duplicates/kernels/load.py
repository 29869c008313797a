"""Makes machine code of the shipped kernels, which takes 1.5 CPU s; numba's front end would take 13.

What is shipped is LLVM's language without vectors and without a word about the processor: loops become vectors here.
No operation on floating-point numbers is ever reordered or fused, so results are the same bit for bit whichever way and
for whichever processor the machine code is made. The package that numba brings along, llvmlite, makes it. Where what is
shipped does not fit (another source, version or kind of machine), numba compiles the source as it always did.
"""

from __future__ import annotations

import contextlib
import ctypes
import gzip
import hashlib
import platform
import re
import sys
import threading
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np

from curation.base import files
from curation.base.errors import WorkspaceError

FOLDER = Path(__file__).parent
SHIPPED = FOLDER / "kernels.ll.gz"
SOURCES = (
    "registration.py",
    "comparison.py",
    "settling.py",
    "differences.py",
    "joins.py",
    "crops.py",
    "build.py",
)

_PICTURES, _ROW, _FLAGS, _MAPS = "int8[:,:,::1]", "int64[::1]", "boolean[::1]", "float64[:,::1]"
_LIKENESS, _ROWS = "float32[:,::1]", "int64[:,::1]"
ENTRIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "screen": ("comparison", (_PICTURES, _PICTURES, _ROW, _ROW, _FLAGS, _MAPS, _FLAGS, "float64[::1]")),
    "examine": ("comparison", (_PICTURES, _ROW, _ROW, _FLAGS, _MAPS, _MAPS)),
    "place_crops": ("crops", (_PICTURES, _ROW, _ROW, _ROW, "float32[:,:,::1]", "float64[::1]", _ROWS)),
    "differ": (
        "differences",
        ("uint8[:,:,::1]", _MAPS, _ROW, _ROW, _FLAGS, _MAPS, _FLAGS, "boolean", "int32[::1]", "float32[::1]", _MAPS),
    ),
    "probe_buckets": (
        "joins",
        ("uint64[::1]", "uint64[::1]", _ROW, _ROW, _ROW, _ROW, "int64", _ROW, "int64", _ROW, _ROW, _ROW),
    ),
    "keep_best": ("joins", (_LIKENESS, _ROW, _ROW, "float32[::1]", _LIKENESS, _ROWS)),
    "best_distinct": ("joins", (_LIKENESS, _ROWS, _LIKENESS, _ROWS, _LIKENESS, _ROWS)),
}
"""Name -> module and types of arguments, in numba's words. All write what they find into arrays that they are given."""

_NEEDED = ("exp", "log", "memset", "memcpy", "memmove", "malloc", "free")
"""C functions that the machine code may call."""

_OLDEST = (0, 45)
"""The first llvmlite that knows pointers without a type."""

Kernel = Callable[..., None]
_LOCK = threading.Lock()


def entry(name: str) -> Kernel:
    """Return the kernel of this name: the shipped one, or compiled by numba where that does not fit."""
    with _LOCK:
        return entries()[name]


@cache
def entries() -> dict[str, Kernel]:
    """Return all kernels by name, of the shipped form or compiled by numba."""
    shipped = fitting()
    if shipped is not None:
        try:
            return machine_code(shipped)
        except (ImportError, AttributeError, TypeError, RuntimeError, OSError):
            pass  # another llvmlite than it was made for
    return {name: cast(Kernel, getattr(import_module(f"{__package__}.{ENTRIES[name][0]}"), name)) for name in ENTRIES}


def source_hash() -> str:
    """Return the SHA-256 of what the shipped kernels are made of and by, ends of lines aside."""
    digest = hashlib.sha256(repr(ENTRIES).encode())
    for name in SOURCES:
        digest.update((FOLDER / name).read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def fitting() -> str | None:
    """Return the shipped kernels, or None where they are not of this source or not for this kind of machine."""
    if platform.machine() != "x86_64" or sys.maxsize < 2**32:
        return None
    try:
        shipped = gzip.decompress(SHIPPED.read_bytes()).decode()
        return shipped if shipped.startswith(heading()) else None
    except (OSError, EOFError, ValueError):
        return None


def heading() -> str:
    """Return the first line of kernels that are of this source."""
    return f"; made of source {source_hash()}\n"


def machine_code(shipped: str, cpu: str | None = None, features: str | None = None) -> dict[str, Kernel]:
    """Return the kernels as machine code, for this processor or for another one that this one can stand for.

    It is kept where Python keeps what it compiles of this package, if that can be written.

    Args:
        shipped: LLVM's language
        cpu: LLVM's name of a processor, such as x86-64-v3
        features: of that processor, besides those that the name implies

    Raises:
        RuntimeError: LLVM does not understand it, or a function that it needs is missing.

    """
    from llvmlite import __version__
    from llvmlite import binding as llvm

    if tuple(map(int, re.findall(r"\d+", __version__)[:2])) < _OLDEST:
        raise RuntimeError(f"llvmlite {__version__} is too old")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu = llvm.get_host_cpu_name() if cpu is None else cpu
    features = llvm.get_host_cpu_features().flatten() if features is None else features
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="static", codemodel="jitdefault", jit=True
    )
    key = hashlib.sha256("\n".join((__version__, machine.triple, cpu, features, shipped)).encode()).hexdigest()
    place = FOLDER / "__pycache__" / f"kernels-{key[:16]}.o"
    code = _kept(place)
    if code is None:
        code = _made(shipped, machine)
        _keep(place, code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    if any(llvm.address_of_symbol(name) is None for name in _NEEDED):
        raise RuntimeError("a C function is missing")
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return {name: _callable(engine, name) for name in ENTRIES}


def _made(shipped: str, machine: Any) -> bytes:
    from llvmlite import binding as llvm

    module = llvm.parse_assembly(shipped)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    options.loop_unrolling = False  # no faster, and a quarter more machine code to make
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return bytes(machine.emit_object(module))


def _kept(place: Path) -> bytes | None:
    """Return the machine code that is kept there; None where there is none, or not all of it."""
    try:
        digest, code = place.read_bytes().split(b"\n", 1)
    except (OSError, ValueError):
        return None
    return code if hashlib.sha256(code).hexdigest().encode() == digest else None


def _keep(place: Path, code: bytes) -> None:
    if sys.dont_write_bytecode:
        return
    with contextlib.suppress(OSError, WorkspaceError):  # every process makes it anew, then
        files.write_bytes(place, hashlib.sha256(code).hexdigest().encode() + b"\n" + code, durable=False)


def _callable(engine: Any, name: str) -> Kernel:
    """Return a function that hands its arguments over as numba's calling convention wants them.

    That is: where a result and where an error would be written, then of each array two words about its owner, its size,
    the bytes an item, where its items are, its shape and its strides.
    """
    kinds = ENTRIES[name][1]
    expected = [_expected(kind) for kind in kinds]
    words = sum(5 + 2 * dimensions if dimensions else 1 for _, dimensions in expected)
    kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * words)
    function = kind(engine.get_function_address(name))

    def call(*given: Any) -> None:
        handed: list[int] = []
        for argument, (dtype, dimensions) in zip(given, expected, strict=True):
            if not dimensions:
                handed.append(int(argument))
                continue
            if argument.dtype != dtype or argument.ndim != dimensions or not argument.flags.c_contiguous:
                raise TypeError(f"{name} takes contiguous arrays of {', '.join(kinds)}")
            handed += [0, 0, argument.size, argument.itemsize, argument.ctypes.data]
            handed += [*argument.shape, *argument.strides]
        result, error = ctypes.c_void_p(), ctypes.c_void_p()
        if function(ctypes.addressof(result), ctypes.addressof(error), *handed) != 0:
            raise MemoryError(name)

    call.engine = engine  # type: ignore[attr-defined]  # the machine code lives as long as it
    return call


def _expected(kind: str) -> tuple[np.dtype[Any], int]:
    name, bracket, inside = kind.partition("[")
    return np.dtype("bool" if name == "boolean" else name), inside.count(",") + 1 if bracket else 0
