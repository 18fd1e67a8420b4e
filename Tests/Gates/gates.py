#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Gates on the built libraries and on the tree.

Each gate states what it checked and names the culprit when it fails. Each has a canary: a broken input that it has
to refuse, built here; a gate that cannot fail is no gate.

usage: gates.py [--lib build/lib]
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: Where packets go. Everything that can be reached from here is "hot".
HOT_ENTRIES = {"libapus.so": ["apus_worker_process"], "libapus_dpdk.so": ["apus_dpdk_worker_poll"]}

#: The one place where a locked instruction is right: the reference count of an mbuf that somebody else holds too.
SHARED_MBUFS = {"libapus_dpdk.so": re.compile(r"ApusDPDK4MbufV9dropFront|^rte_(pktmbuf|mbuf)_")}

#: Calls that a hot function must not make.
FORBIDDEN_CALLS = re.compile(
    r"swift_|malloc|calloc|realloc|posix_memalign|^free|getrandom|sched_yield|pthread_|abort|exit|printf"
)

MAXIMUM_SIZE = 300 * 1024


class Failure(Exception):
    """A gate is broken; the text names the culprit."""


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# ---- what a library shows ---------------------------------------------------------------------------------------


def exported(library: Path) -> set[str]:
    lines = run("nm", "-D", "--defined-only", str(library)).splitlines()
    names = {line.split()[-1].split("@")[0] for line in lines}
    return {name for name in names if not re.fullmatch(r"APUS_[0-9.]+", name)}


def declared(headers: list[Path]) -> set[str]:
    """The functions that headers declare: a type at the beginning of a line, then the name."""
    pattern = re.compile(r"^(?:int|void|u?int\d+_t|const char|struct \w+) [ *]*(apus_\w+)\(", re.M)
    return {name for header in headers for name in pattern.findall(header.read_text())}


def gate_exports(library: Path, headers: list[Path]) -> str:
    have, want = exported(library), declared(headers)
    if have != want:
        raise Failure(f"{library.name}: exported but not declared {sorted(have - want)}, "
                      f"declared but not exported {sorted(want - have)}")
    return f"{library.name} exports the {len(have)} functions of its headers and nothing else"


def gate_needed(library: Path, allowed: re.Pattern[str]) -> str:
    dynamic = run("readelf", "-d", str(library))
    needed = re.findall(r"NEEDED.*\[(.*)\]", dynamic)
    strangers = [name for name in needed if not allowed.fullmatch(name)]
    if strangers:
        raise Failure(f"{library.name} needs {strangers}")
    if "TEXTREL" in dynamic:
        raise Failure(f"{library.name} has text relocations")
    return f"{library.name} needs {', '.join(needed)}; no text relocations"


def gate_soname(library: Path) -> str:
    version = (ROOT / "include/apus/version.h").read_text()
    major, minor = (re.search(rf"VERSION_{part} (\d+)", version).group(1) for part in ("MAJOR", "MINOR"))
    want = f"{library.name}.{major}.{minor}" if major == "0" else f"{library.name}.{major}"
    if f"[{want}]" not in run("readelf", "-d", str(library)):
        raise Failure(f"{library.name}: the soname is not {want}")
    return f"{library.name} has the soname {want} of version.h"


def gate_size(library: Path) -> str:
    size = library.resolve().stat().st_size
    if size >= MAXIMUM_SIZE:
        raise Failure(f"{library.name} has {size} bytes; the limit is {MAXIMUM_SIZE}")
    return f"{library.name} has {size // 1024} KB of at most {MAXIMUM_SIZE // 1024}"


# ---- what its code does -----------------------------------------------------------------------------------------


def functions(objects: Path) -> dict[str, list[str]]:
    """Disassembly by function: name -> instructions."""
    result: dict[str, list[str]] = {}
    current: list[str] = []
    for line in run("objdump", "-d", "--no-show-raw-insn", str(objects)).splitlines():
        if match := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            current = result.setdefault(match.group(1), [])
        elif "\t" in line:
            current.append(line.split("\t", 1)[1].strip())
    return result


def reachable(code: dict[str, list[str]], entries: list[str]) -> tuple[set[str], dict[str, str]]:
    """Functions that direct calls and jumps lead to, and the external names that they reach with who calls them."""
    seen: set[str] = set()
    external: dict[str, str] = {}
    waiting = list(entries)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for instruction in code[name]:
            match = re.match(r"(?:call|jmp|j\w+)\s+[0-9a-f]+ <([^>+]+)(\+0x[0-9a-f]+)?>", instruction)
            if not match:
                continue
            target = match.group(1)
            if target.endswith("@plt"):
                external.setdefault(target.removesuffix("@plt"), name)
            elif target in code:
                waiting.append(target)
    return seen, external


def is_locked(instruction: str) -> bool:
    """A locked instruction: said so, or an exchange with memory, which always is."""
    return bool(re.match(r"lock\b", instruction) or re.match(r"xchg\s.*\(", instruction))


def gate_same_code(shipped: Path, named: Path) -> str:
    """The shipped library is stripped; what is disassembled is the file that it was stripped from."""
    def text(library: Path) -> bytes:
        with tempfile.NamedTemporaryFile(prefix="apus-text-") as file:
            run("objcopy", "-O", "binary", "-j", ".text", str(library), file.name)
            return Path(file.name).read_bytes()

    if text(shipped) != text(named):
        raise Failure(f"{shipped.name}: the code differs from {named}; run make lib")
    return f"{shipped.name} has the very code that is disassembled below"


def gate_hot_path(objects: Path, entries: list[str], may_lock: re.Pattern[str] | None = None) -> str:
    code = functions(objects)
    missing = [entry for entry in entries if entry not in code]
    if missing:
        raise Failure(f"{objects.name}: no function {missing}")
    hot, external = reachable(code, entries)
    for name in sorted(hot):
        for instruction in code[name]:
            if instruction.startswith("ud2"):
                raise Failure(f"{name} contains a trap (ud2)")
            if is_locked(instruction) and not (may_lock and may_lock.search(name)):
                raise Failure(f"{name} contains a locked instruction: {instruction}")
    for callee, caller in external.items():
        if FORBIDDEN_CALLS.search(callee):
            raise Failure(f"{caller} calls {callee}")
    forbidden = sorted(name for name in hot if FORBIDDEN_CALLS.search(name))
    if forbidden:
        raise Failure(f"{entries} lead to {forbidden}")
    count = sum(len(code[name]) for name in hot)
    return (f"{', '.join(entries)}: {len(hot)} functions, {count} instructions: no trap, no locked instruction, "
            f"external calls only {sorted(external) or 'none'}")


def gate_no_traps(objects: Path) -> str:
    """No trap in the whole library, but in the Embedded runtime's own dead weight."""
    culprits = sorted(
        name for name, body in functions(objects).items()
        if any(line.startswith("ud2") for line in body) and not re.match(r"_?swift_", name))
    if culprits:
        raise Failure(f"{objects.name}: traps in {culprits}")
    return f"{objects.name}: no trap instruction in any of our functions"


# ---- the tree ---------------------------------------------------------------------------------------------------


def gate_headers(headers: list[Path]) -> str:
    compilers = [["gcc", "-std=c11", "-x", "c"], ["g++", "-std=c++17", "-x", "c++"]]
    for header in headers:
        for compiler in compilers:
            command = [*compiler, "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only", "-I", str(ROOT / "include"),
                       str(header)]
            # A header that is compiled by itself is the main file; that alone is no defect.
            done = subprocess.run([*command, "-Wno-pragma-once-outside-header"], capture_output=True, text=True)
            if done.returncode:
                raise Failure(f"{header.name} with {compiler[0]}: {done.stderr.strip()}")
    return f"{len(headers)} headers compile alone as C11 and C++17 without a warning"


FORBIDDEN_TEXT = {
    r"\b(?:TODO|FIXME|XXX)\b": "unfinished",
    r"@_cdecl": "@c @implementation is the way",
    r"-Ounchecked": "turns checks into undefined behaviour",
    r"/(?:work|tmp/bash_jobs|root)/": "a path of some machine",
}


def tracked_files() -> list[Path]:
    names = run("git", "-C", str(ROOT), "ls-files").splitlines()
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def gate_tree(files: list[Path]) -> str:
    checked = 0
    for path in files:
        if path == Path(__file__).resolve() or path.suffix in {".pcap", ".png"}:
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        checked += 1
        for pattern, why in FORBIDDEN_TEXT.items():
            if match := re.search(pattern, text):
                line = text.count("\n", 0, match.start()) + 1
                raise Failure(f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}:{line}: "
                              f"{match.group(0)}: {why}")
    return f"{checked} files without leftovers"


# ---- canaries ---------------------------------------------------------------------------------------------------


def build_canary(directory: Path, name: str, source: str) -> Path:
    library = directory / f"{name}.so"
    code = directory / f"{name}.c"
    code.write_text(source)
    run("gcc", "-O1", "-shared", "-fPIC", str(code), "-o", str(library), "-lm")
    return library


def canaries(directory: Path) -> list[tuple[str, Callable[[], str]]]:
    """Broken inputs, one for each gate."""
    def make(name: str, body: str) -> Path:
        return build_canary(directory, name, body)

    entry = ["apus_worker_process"]
    trap = make("trap", "int apus_worker_process(int x) { if (x) __builtin_trap(); return 0; }")
    lock = make("lock", "int n; __attribute__((noinline)) static void f(void) { __sync_fetch_and_add(&n, 1); }"
                        " int apus_worker_process(void) { f(); return 0; }")
    exchange = make("exchange", "long n; long apus_worker_process(long x) { return __atomic_exchange_n(&n, x, 5); }")
    allocate = make("allocate", "#include <stdlib.h>\nvoid *apus_worker_process(int n) { return malloc(n); }")
    extra = make("extra", "int apus_other(void) { return 0; }")
    libm = make("libm", "#include <math.h>\ndouble apus_x(double x) { return pow(x, 0.3); }")
    large = make("large", f"const char apus_big[{MAXIMUM_SIZE}] = {{1}};")
    header = directory / "broken.h"
    header.write_text("int f(apus_unknown_type x);\n")
    leftover = directory / "leftover.c"
    leftover.write_text("/* TO" + "DO */\n")
    return [
        ("trap", lambda: gate_hot_path(trap, entry)),
        ("trap anywhere", lambda: gate_no_traps(trap)),
        ("locked instruction", lambda: gate_hot_path(lock, entry)),
        ("exchange with memory", lambda: gate_hot_path(exchange, entry)),
        ("allocation", lambda: gate_hot_path(allocate, entry)),
        ("other code", lambda: gate_same_code(trap, lock)),
        ("missing entry", lambda: gate_hot_path(extra, entry)),
        ("extra export", lambda: gate_exports(extra, [])),
        ("needed library", lambda: gate_needed(libm, re.compile(r"libc\.so\.6"))),
        ("soname", lambda: gate_soname(extra)),
        ("size", lambda: gate_size(large)),
        ("header", lambda: gate_headers([header])),
        ("leftover", lambda: gate_tree([leftover])),
    ]


# ---- all of it --------------------------------------------------------------------------------------------------


def gates(lib: Path) -> list[Callable[[], str]]:
    include = ROOT / "include/apus"
    core = [include / f"{name}.h" for name in
            ("version", "error", "address", "dataplane", "port", "policy", "subnet", "provider", "worker", "stats",
             "event", "explain")]
    libraries = {
        "libapus.so": (core, re.compile(r"libc\.so\.6")),
        "libapus_dpdk.so": ([include / "apus_dpdk.h"], re.compile(r"libc\.so\.6|ld-linux.*|libapus\.so\..*|librte_.*")),
        "libapus_policy.so": ([include / "apus_policy_file.h"],
                              re.compile(r"libc\.so\.6|libm\.so\.6|libapus\.so\..*|libyaml-.*")),
    }
    result: list[Callable[[], str]] = []
    for name, (headers, allowed) in libraries.items():
        library = lib / name
        result.append(lambda library=library, headers=headers: gate_exports(library, headers))
        result.append(lambda library=library, allowed=allowed: gate_needed(library, allowed))
        result.append(lambda library=library: gate_soname(library))
    result.append(lambda: gate_size(lib / "libapus.so"))
    for name, entries in HOT_ENTRIES.items():
        shipped, named = lib / name, lib.parent / "obj" / (lib / name).resolve().name
        result.append(lambda shipped=shipped, named=named: gate_same_code(shipped, named))
        result.append(lambda named=named, entries=entries, name=name: gate_hot_path(named, entries, SHARED_MBUFS.get(name)))
        result.append(lambda named=named: gate_no_traps(named))
    result.append(lambda: gate_headers(sorted(include.glob("*.h"))))
    result.append(lambda: gate_tree(tracked_files()))
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lib", type=Path, default=ROOT / "build/lib", help="where the libraries are")
    lib = parser.parse_args().lib
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="apus-canary-") as directory:
        for name, canary in canaries(Path(directory)):
            try:
                canary()
                failed += 1
                print(f"FAIL  canary \"{name}\" was not noticed")
            except Failure:
                passed += 1
    print(f"ok    {passed} canaries were noticed")
    for gate in gates(lib):
        try:
            print(f"ok    {gate()}")
            passed += 1
        except (Failure, subprocess.CalledProcessError) as failure:
            print(f"FAIL  {failure}")
            failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
