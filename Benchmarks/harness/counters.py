# SPDX-License-Identifier: Apache-2.0
"""What a device of the end-to-end benchmark counts: dpdk/counters.h from the outside."""

import mmap
import struct

QUEUES = 8
LINE = 64
SIZE = LINE * (1 + 2 * QUEUES)


class Counters:
    """The file that a device maps. Made before the device is."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(SIZE))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), SIZE)

    def _read(self, offset):
        return struct.unpack_from("=Q", self._memory, offset)[0]

    def _sum(self, first_line, word):
        return sum(self._read(LINE * (first_line + queue) + 8 * word) for queue in range(QUEUES))

    tsc_hertz = property(lambda self: self._read(0))
    thread = property(lambda self: self._read(8))
    received = property(lambda self: self._sum(1, 0))
    no_buffer = property(lambda self: self._sum(1, 1))
    sent = property(lambda self: self._sum(1 + QUEUES, 0))
    wrong_length = property(lambda self: self._sum(1 + QUEUES, 2))
    checked = property(lambda self: self._sum(1 + QUEUES, 3))
    wrong = property(lambda self: self._sum(1 + QUEUES, 4))

    def check(self, is_on):
        """Whether the sink looks at every byte from now on."""
        struct.pack_into("=Q", self._memory, 16, is_on)
