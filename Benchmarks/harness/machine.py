# SPDX-License-Identifier: Apache-2.0
"""The conditions of a run: without them a figure means nothing."""

import hashlib
import os
import pathlib
import platform
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def first_line(*command):
    """The first line that a program prints, or None where it is not installed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout or done.stderr).splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def read(path):
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return None


def cpu():
    fields = {}
    for line in (read("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    caches = {}
    for index in sorted(pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        caches[f"L{read(index / 'level')} {read(index / 'type')}"] = read(index / "size")
    return {
        "model": fields.get("model name"), "family": fields.get("cpu family"), "stepping": fields.get("stepping"),
        "flags": fields.get("flags"), "mhz": fields.get("cpu MHz"), "count": os.cpu_count(), "caches": caches,
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "virtual": "hypervisor" in (fields.get("flags") or "").split(),
    }


def git():
    status = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, cwd=ROOT)
    return {"revision": first_line("git", "rev-parse", "HEAD"), "dirty": status.returncode != 0 or status.stdout != ""}


def digests(files):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def fingerprint(measured):
    memory = (read("/proc/meminfo") or "").splitlines()
    return {
        "cpu": cpu(), "kernel": platform.release(), "system": first_line("sed", "-n", "s/^PRETTY_NAME=//p", "/etc/os-release"),
        "memory": memory[0].split(":")[1].strip() if memory else None,
        "transparent_hugepages": read("/sys/kernel/mm/transparent_hugepage/enabled"),
        "mitigations": read("/sys/devices/system/cpu/vulnerabilities/spectre_v2"),
        "compilers": {"gcc": first_line("gcc", "--version"), "swiftc": first_line("swiftc", "--version")},
        "dpdk": first_line("pkg-config", "--modversion", "libdpdk"), "valgrind": first_line("valgrind", "--version"),
        "git": git(), "digests": digests(measured), "load": os.getloadavg(),
    }


def differences(old, new, prefix=""):
    """What two fingerprints do not share, but for what changes with every run."""
    for key in sorted(set(old) | set(new)):
        a, b = old.get(key), new.get(key)
        if key in ("load", "load_after", "mhz", "git", "digests") or a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            yield from differences(a, b, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}: {a} / {b}"
