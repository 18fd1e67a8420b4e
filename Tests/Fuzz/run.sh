#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Build the fuzz targets and run each for some seconds from its committed corpus.
#
#     Tests/Fuzz/run.sh SECONDS [frames|calls]...     default: 20 seconds, both
#
# The core is compiled as the libraries are, as Embedded Swift, with the fuzzer's coverage and the address sanitizer in
# it. A deliberate over-read by the core's own loads has to be reported first. What is found stays in build/fuzz/NAME.
set -u

repository=$(cd "$(dirname "$0")/../.." && pwd)
cd "$repository" || exit 1
seconds=${1:-20}
shift
targets=${*:-frames calls}
work=build/fuzz
passed=0
failed=0

check() { # check "what" "true|false" "log to show"
    if [ "$2" = true ]; then
        passed=$((passed + 1))
        echo "PASS  $1"
    else
        failed=$((failed + 1))
        echo "FAIL  $1"
        [ -n "${3:-}" ] && tail -n 40 "$3" | cut -c1-200
    fi
}

verdict() { [ "$1" -eq 0 ] && echo true || echo false; }

finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ]
    exit
}

command -v swiftc >/dev/null || {
    echo "swiftc is not on PATH"
    exit 1
}
# The compiler and the sanitizer runtime have to be of one version: take the clang beside swiftc.
clang=$(dirname "$(readlink -f "$(command -v swiftc)")")/clang
machine=()
[ "$(uname -m)" = x86_64 ] && machine=(-Xcc -march="${APUS_MARCH:-x86-64-v2}" -Xcc -maes)

mkdir -p "$work"
SECONDS=0
status=0
{
    mapfile -t sources < <(find Sources/Apus -name '*.swift' | sort)
    swiftc -enable-experimental-feature Embedded -wmo -O -g -parse-as-library -strict-memory-safety -module-name Apus \
        -sanitize=fuzzer,address -Xcc -fsanitize=address,fuzzer-no-link ${machine[@]+"${machine[@]}"} \
        -I include -I Sources/CApusIntrinsics -c "${sources[@]}" -o "$work/core.o" || status=1
    for target in $targets; do
        "$clang" -std=c11 -D_GNU_SOURCE -g -O1 -Wall -Wextra -Werror -fsanitize=fuzzer,address -fuse-ld=lld -I include \
            "Tests/Fuzz/$target.c" "$work/core.o" -o "$work/$target-fuzzer" || status=1
    done
} >"$work/build.log" 2>&1
check "fuzz: build ($SECONDS s)" "$(verdict $status)" "$work/build.log"
[ $status = 0 ] || finish

if [ -x "$work/frames-fuzzer" ]; then
    APUS_CANARY=1 "$work/frames-fuzzer" -max_total_time=20 -artifact_prefix="$work/canary-" Tests/Fuzz/corpus/frames/* \
        >"$work/canary.log" 2>&1
    grep -q "AddressSanitizer: heap-buffer-overflow" "$work/canary.log" &&
        grep -qE " #0 .*/Sources/(Apus|CApusIntrinsics)/" "$work/canary.log"
    check "fuzz: the canary is reported, in the core" "$(verdict $?)" "$work/canary.log"
    rm -f "$work"/canary-crash-*
fi

for target in $targets; do
    mkdir -p "$work/$target"
    log=$work/$target.log
    timeout $((seconds * 2 + 60)) "$work/$target-fuzzer" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
        -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$work/$target-" \
        "$work/$target" "Tests/Fuzz/corpus/$target" >"$log" 2>&1
    status=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    check "fuzz: $target, ${runs:-0} runs, $(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1) edges" \
        "$(verdict $status)" "$log"
done
finish
