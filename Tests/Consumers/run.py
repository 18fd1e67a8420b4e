#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Build programs against the *installed* library, as a customer would, and run them.

C and C++ with pkg-config and with CMake, Swift with the installed module map; each with the shared library and with the
static archive; and the two examples of the README. Runs `make install` into a directory of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent


def run(*command: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=cwd, timeout=600,
                          env={**os.environ, **(env or {})})
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} -> {done.returncode}\n{done.stdout}{done.stderr}".strip())
    return done.stdout


class Stage:
    """An installation and a place to build in."""

    def __init__(self, directory: Path) -> None:
        self.prefix = directory / "installed"
        self.work = directory / "work"
        self.work.mkdir()
        run("make", "-s", "-C", ROOT, "install", f"PREFIX={self.prefix}")
        self.lib = self.prefix / "lib"
        self.env = {"PKG_CONFIG_PATH": str(self.lib / "pkgconfig")}
        self.cflags = run("pkg-config", "--cflags", "apus", env=self.env).split()
        self.libs = run("pkg-config", "--libs", "apus", env=self.env).split()
        self.rpath = f"-Wl,-rpath,{self.lib}"


def c_shared(stage: Stage) -> str:
    program = stage.work / "c-shared"
    run("gcc", "-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror", HERE / "encapsulate.c", "-o", program,
        *stage.cflags, *stage.libs, stage.rpath)
    return run(program)


def c_static(stage: Stage) -> str:
    program = stage.work / "c-static"
    run("gcc", "-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror", HERE / "encapsulate.c", "-o", program,
        *stage.cflags, stage.lib / "libapus.a")
    if "libapus" in run("readelf", "-d", program):
        raise RuntimeError("the static program needs the shared library")
    return run(program)


def cxx(stage: Stage) -> str:
    program = stage.work / "cxx"
    run("g++", "-std=c++17", "-Wall", "-Wextra", "-pedantic", "-Werror", "-x", "c++", HERE / "encapsulate.c", "-o", program,
        *stage.cflags, *stage.libs, stage.rpath)
    return run(program)


def cmake(stage: Stage) -> str:
    return build_with_cmake(stage.work / "cmake", stage.prefix)


def cmake_multiarch(stage: Stage) -> str:
    """The layout of a Debian package: libraries a level deeper, everything staged under DESTDIR."""
    root = stage.work / "root"
    run("make", "-s", "-C", ROOT, "install", "PREFIX=/usr", "libdir=/usr/lib/some-arch", f"DESTDIR={root}")
    return build_with_cmake(stage.work / "cmake-multiarch", root / "usr/lib/some-arch/cmake/apus")


def build_with_cmake(build: Path, where: Path) -> str:
    run("cmake", "-S", HERE / "cmake", "-B", build, f"-Dapus_DIR={next(where.rglob('apus-config.cmake')).parent}")
    run("cmake", "--build", build)
    return run(build / "shared") + run(build / "static")


def policy_library(stage: Stage) -> str:
    """A program that calls nothing but the policy library: that finds libapus by itself."""
    program = stage.work / "policy"
    libs = run("pkg-config", "--libs", "apus_policy", env=stage.env).split()
    run("gcc", "-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror", HERE / "policy.c", "-o", program,
        *stage.cflags, *libs, stage.rpath)
    return run(program, ROOT / "Tests/EndToEnd/policies/one-machine.yaml")


def relative_prefix(stage: Stage) -> str:
    """An installation that could not work is refused."""
    refused = subprocess.run(["make", "-s", "-C", str(ROOT), "install", "PREFIX=somewhere"], capture_output=True, text=True,
                             timeout=600)
    if refused.returncode == 0 or "must be an absolute path" not in refused.stderr:
        raise RuntimeError(f"PREFIX=somewhere -> {refused.returncode}\n{refused.stderr}")
    return "ok"


def swift(stage: Stage, *link: str) -> str:
    program = stage.work / f"swift-{len(link)}"
    run("swiftc", "-O", "-swift-version", "6", HERE / "host.swift", "-o", program, "-I", stage.prefix / "include/apus", *link)
    return run(program)


def swift_shared(stage: Stage) -> str:
    return swift(stage, "-L", str(stage.lib), "-lapus", "-Xlinker", "-rpath", "-Xlinker", str(stage.lib))


def swift_static(stage: Stage) -> str:
    """An ordinary Swift program keeps its own runtime although the archive was compiled as Embedded Swift."""
    return swift(stage, str(stage.lib / "libapus.a"), "-Xlinker", "-L/nonexistent")


def readme_block(language: str) -> str:
    match = re.search(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    if not match:
        raise RuntimeError(f"README.md has no {language} example")
    return match.group(1)


def readme_c(stage: Stage) -> str:
    source, program = stage.work / "readme.c", stage.work / "readme-c"
    source.write_text(readme_block("c"))
    run("gcc", "-Wall", "-Wextra", "-Werror", source, "-o", program, *stage.cflags, *stage.libs, stage.rpath)
    output = run(program)
    if "to the second machine: yes" not in output:
        raise RuntimeError(output)
    return "ok\n"


def readme_swift(stage: Stage) -> str:
    """As a package that depends on this one; nothing is fetched for the product Apus alone."""
    package = stage.work / "readme-swift"
    (package / "Sources/example").mkdir(parents=True)
    (package / "Sources/example/main.swift").write_text(readme_block("swift"))
    (package / "Package.swift").write_text(
        "// swift-tools-version: 6.2\nimport PackageDescription\n"
        f'let package = Package(name: "example", dependencies: [.package(name: "apus", path: "{ROOT}")], targets: [\n'
        '    .executableTarget(name: "example", dependencies: [.product(name: "Apus", package: "apus")],\n'
        "        swiftSettings: [.swiftLanguageMode(.v5)])])\n")
    run("swift", "build", "--package-path", package, env={"APUS_CORE_ONLY": "1"})
    output = run(package / ".build/debug/example")
    if "APUS_ERR_VSID customer route: virtual_subnet_id: 17 is outside 4096-16777214" not in output:
        raise RuntimeError(output)
    return "ok\n"


def uninstall(stage: Stage) -> str:
    run("make", "-s", "-C", ROOT, "uninstall", f"PREFIX={stage.prefix}")
    left = [path for path in stage.prefix.rglob("*") if path.is_file()]
    if left:
        raise RuntimeError(f"make uninstall left {left}")
    return "ok\n"


def main() -> int:
    tests = [c_shared, c_static, cxx, cmake, cmake_multiarch, policy_library, relative_prefix, swift_shared, swift_static,
             readme_c, readme_swift, uninstall]
    passed = failed = 0
    directory = Path(tempfile.mkdtemp(prefix="apus-consumers-"))
    try:
        stage = Stage(directory)
        for test in tests:
            try:
                output = test(stage)
                if not output or any(line != "ok" for line in output.splitlines()):
                    raise RuntimeError(f"said {output!r}")
                print(f"ok    {test.__name__}")
                passed += 1
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                print(f"FAIL  {test.__name__}: {error}")
                failed += 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
