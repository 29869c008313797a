"""Makes ``kernels.ll.gz`` of the source: python -m curation.checks.duplicates.kernels.build.

numba's front end writes LLVM's language; its own optimiser is told of no processor and makes no vectors. What would
raise Python's exceptions (sizes too large for an array) only returns a status here, and memory is taken from malloc.
"""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from importlib import import_module
from typing import Any

from curation.checks.duplicates.kernels import load

_PLAIN = {
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_CPU_FEATURES": "",
    "NUMBA_LOOP_VECTORIZE": "0",
    "NUMBA_SLP_VECTORIZE": "0",
    "PYTHONHASHSEED": "0",
}

_MEMORY = """
declare noalias ptr @malloc(i64)
declare void @free(ptr)
define ptr @NRT_MemInfo_alloc_aligned(i64 %size, i32 %align) {
  %all = add i64 %size, 112
  %info = call ptr @malloc(i64 %all)
  %none = icmp eq ptr %info, null
  br i1 %none, label %end, label %fill
fill:
  %address = ptrtoint ptr %info to i64
  %after = add i64 %address, 111
  %place = and i64 %after, -64
  %data = inttoptr i64 %place to ptr
  %data.at = getelementptr i8, ptr %info, i64 24
  store i64 1, ptr %info
  store ptr %data, ptr %data.at
  br label %end
end:
  ret ptr %info
}
define void @NRT_incref(ptr %info) {
  %none = icmp eq ptr %info, null
  br i1 %none, label %end, label %count
count:
  %before = load i64, ptr %info
  %now = add i64 %before, 1
  store i64 %now, ptr %info
  br label %end
end:
  ret void
}
define void @NRT_decref(ptr %info) {
  %none = icmp eq ptr %info, null
  br i1 %none, label %end, label %count
count:
  %before = load i64, ptr %info
  %now = sub i64 %before, 1
  store i64 %now, ptr %info
  %last = icmp eq i64 %now, 0
  br i1 %last, label %give, label %end
give:
  call void @free(ptr %info)
  br label %end
end:
  ret void
}
"""
"""An array's memory, aligned to 64 bytes, after the words that numba keeps before it: how many refer to it (first) and
where it is (fourth). No array is seen by two threads, so nothing is counted atomically."""

_RECENT = (
    r" (?:captures|range|initializes|memory)\((?:[^()]|\([^()]*\))*\)"
    r"| (?:nocreateundeforpoison|dead_on_unwind|dead_on_return|nofpclass\([^()]*\)|nneg|disjoint|samesign)(?= )"
    r"|(?<=getelementptr)(?: (?:nuw|nusw))+|(?<=trunc)(?: (?:nuw|nsw))+"
)
"""What older LLVM does not understand, and a newer one finds out by itself."""


def makers() -> str:
    """Return a line that names the versions on which the kernels' text depends besides their source."""
    from numba import __version__

    return f"; made by numba {__version__}, Python {sys.version_info.major}.{sys.version_info.minor}\n"


def text() -> str:
    """Return the kernels in LLVM's language, lines that name their source and makers first."""
    environment = {**os.environ, **_PLAIN}
    command = [sys.executable, "-c", f"from {load.__package__}.build import _written; _written()"]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)  # noqa: S603
    return done.stdout


def _written() -> None:
    """Print the kernels; for a process of its own, because numba reads its environment once."""
    from llvmlite import binding as llvm

    modules = [llvm.parse_assembly(_MEMORY)]
    names: dict[str, str] = {}
    for name, (module, kinds) in load.ENTRIES.items():
        library, mangled = _front_end(getattr(import_module(f"{load.__package__}.{module}"), name), kinds)
        names[mangled] = name
        modules.append(llvm.parse_assembly(re.sub(r"^target .*$", "", library.get_llvm_str(), flags=re.M)))
    whole = modules[0]
    for module in modules[1:]:
        whole.link_in(module)
    for function in whole.functions:
        if not function.is_declaration:
            function.linkage = "external" if function.name in names else "internal"
    for variable in whole.global_variables:  # environments, which only wrappers for Python read
        if not variable.name.startswith(".const"):
            variable.linkage = "internal"
    whole.triple = whole.data_layout = ""
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.add_strip_dead_prototype_pass()
    machine = llvm.Target.from_default_triple().create_target_machine()
    passes.run(whole, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    print(load.heading() + makers() + _named(str(whole), names), end="")


def _front_end(kernel: Any, kinds: tuple[str, ...]) -> tuple[Any, str]:
    """Return numba's library for a kernel and the kernel's name in it."""
    from numba import njit

    decorate: Any = njit  # whose types do not know all of its options
    plain = decorate(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(kernel.py_func)
    plain.compile(f"void({', '.join(kinds)})")
    (compiled,) = plain.overloads.values()
    return compiled.library, compiled.fndesc.llvm_func_name


def _named(written: str, names: dict[str, str]) -> str:
    """Return IR in which kernels have their plain names and other functions short ones, and that raises nothing.

    numba's exceptions are pickled objects, which nobody would read here.
    """
    found = dict.fromkeys(re.findall(r"@(_ZN\w+)", written))
    short = {old: names.get(old, f"f{n}") for n, old in enumerate(found)}
    written = re.sub(r"@(_ZN\w+)", lambda match: "@" + short[match[1]], written)
    written = re.sub(r"!\"_ZN[^\"]*\"", '!""', written)
    written = re.sub(r"^(; |source_filename|@\.const\.pickle|.* @llvm\.lifetime\.).*\n", "", written, flags=re.M)
    written = re.sub(r"@\.const\.picklebuf[\w.]*", "null", written)
    return re.sub(_RECENT, "", written)


if __name__ == "__main__":
    load.SHIPPED.write_bytes(gzip.compress(text().encode(), 9, mtime=0))
