# SPDX-License-Identifier: Apache-2.0
"""Which stage of a burst an instruction belongs to, by what callgrind says of it: the function, and the source file it was inlined from."""

import re

HEADERS = ("Apply.swift", "Bytes.swift", "Checksum.swift", "ECN.swift", "Frame.swift", "IPv4.swift", "IPv6.swift", "apus_intrinsics.h")
# Stage, function, source files (None: any); the first that fits. The look-up is in one function with what begins the first stage, and
# most of the last two stages are one.
RULES = (
    ("call", r"apus_worker_process|bench_measured|process|static Registry\..*", None),
    ("look-up", r".*FlowCache\..*|Worker\.(findFlow|lookFurther|fetchNeighbors|flowElsewhere|lookUpWide|holds)\(.*", None),
    ("look-up", r"Worker\.chunk\(.*", ("FlowCache.swift", "FlowKey.swift", "Hit.swift")),
    ("parse, key, hash", r"Worker\.(chunk|account|parse\w*|stage\w*|outerPacket)\(.*", None),
    ("apply: headers", r"Ref<A>\..*", None),
    ("apply: headers", r"Worker\.apply\(_:_:\)", HEADERS),
    ("emit: validity, counters, output", r"Worker\.(apply\(_:_:\)|emit\(.*)", None),
    ("rest: first packets", r".*", None),
)
STAGES = tuple(dict.fromkeys(("parse, key, hash", *(stage for stage, _, _ in RULES))))


def stage(place):
    """`place`: "file: function"."""
    file, _, function = place.partition(": ")
    return next(stage for stage, pattern, files in RULES if re.fullmatch(pattern, function) and (files is None or file in files))


def split(places):
    """Instructions per packet by place -> by stage."""
    sums = dict.fromkeys(STAGES, 0.0)
    for place, value in places.items():
        sums[stage(place)] += value
    return sums
