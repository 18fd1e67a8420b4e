# SPDX-License-Identifier: Apache-2.0
"""A program that runs while it is wanted, and is stopped (SIGSTOP) in between."""

import os
import pathlib
import signal
import subprocess
import time

from .program import Refused


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Refused(f"{what}: not within {seconds} s")
        time.sleep(0.02)


class Child:
    """The kernel kills it when this process goes away, however it does."""

    def __init__(self, name, words, directory, cpu, environment=None):
        """`cpu` is where its threads are that do not ask for another one."""
        self.name = name
        self.log = pathlib.Path(directory) / "log"
        # The EAL's directory; nothing of it is left behind, and no program sees another's.
        environment = {**os.environ, "RUNTIME_DIRECTORY": str(directory), **(environment or {})}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "taskset", "--cpu-list", str(cpu), *map(str, words)], env=environment,
                stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT)

    pid = property(lambda self: self.process.pid)

    def refusal(self, what):
        return Refused("\n    ".join([f"{self.name}: {what}", *self.log.read_text(errors="replace").splitlines()[-4:]]))

    def must_run(self):
        if self.process.poll() is not None:
            raise self.refusal(f"ended with status {self.process.returncode}")

    def _thread(self, number, file):
        try:
            return pathlib.Path(f"/proc/{self.pid}/task/{number}/{file}").read_text()
        except OSError as error:
            raise self.refusal("the forwarding thread is gone") from error

    def ran(self, thread):
        """Seconds that a thread had its core. Exact while it is stopped: otherwise the kernel counts when it likes."""
        return int(self._thread(thread, "schedstat").split()[0]) / 1e9

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self, thread):
        self.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: self._thread(thread, "stat").rpartition(")")[2].split()[0] == "T", 10, f"{self.name} stops")

    def ask_to_end(self, how):
        """By a signal, or by what it reads. It answers when it runs again."""
        if isinstance(how, bytes):
            self.process.stdin.write(how)
            self.process.stdin.flush()
        else:
            self.process.send_signal(how)

    def must_end_well(self):
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired as late:
            raise self.refusal("does not end") from late
        if status != 0:
            raise self.refusal(f"ended with status {status}")

    def kill(self):
        """Nothing of it runs any more, whatever happened."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
