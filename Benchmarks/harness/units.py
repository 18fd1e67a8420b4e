# SPDX-License-Identifier: Apache-2.0
"""What the figures of control scenarios are measured in, by their names. Benchmarks/README.md defines them."""

import re

# The first that matches the end of a name.
UNITS = (
    (r"nanoseconds_until_commit_returns(\.p\d+)?|p\d+", "ns"),
    (r"_milliseconds", "ms"),
    (r"changes_per_second|rate_wanted", "changes/s"),
    (r"(inserts|removals)_per_second(_in_one_transaction)?", "records/s"),
    (r"bytes_per_record(_by_allocator)?", "bytes/record"),
    (r"_kept(_with_limit|_against_\w+)?|_share|misses_while_changing", "share of 1"),
    (r"speedup", "times one worker"),
    (r"cycles_per_packet_\w+|victim_(alone|beside_\w+)|neighbour|flood", "cycles/packet"),
    (r"frames\w*|lost|misdelivered", "frames"),
    (r"records_added", "records"),
    (r"packets_between_changes", "packets"),
    (r"changes", "changes"),
)


def unit(name):
    """None: nobody has said."""
    return next((found for pattern, found in UNITS if re.search(f"(?:{pattern})$", name)), None)
