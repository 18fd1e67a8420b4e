#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Run the tests of the core under the address sanitizer, and those with threads under the thread sanitizer.
#
#     Tests/ApusTests/run-sanitizers.sh [asan|tsan]...        default: both
#
# Each sanitizer has to report a deliberate error first (CanaryTests.swift); one that does not would report nothing.
# APUS_CONCURRENCY_MS: milliseconds for each test with threads (default 2000 under TSan, 500 under ASan).
set -u

repository=$(cd "$(dirname "$0")/../.." && pwd)
passed=0
failed=0

check() { # check "what" "true|false" "log to show"
    if [ "$2" = true ]; then
        passed=$((passed + 1))
        echo "PASS  $1"
    else
        failed=$((failed + 1))
        echo "FAIL  $1"
        [ -n "${3:-}" ] && grep -aE "Sanitizer|error:|✘|recorded an issue|fatal|#[0-9]+ .*Apus" "$3" | head -40
    fi
}

# The package seen through links: SwiftPM forgets the versions of the packages that this build leaves out
# (Package.resolved), and shall not do so in the repository.
prepare() { # prepare DIRECTORY
    local name
    mkdir -p "$1/package"
    for name in Package.swift Sources Tests include; do
        ln -sfn "$repository/$name" "$1/package/$name"
    done
    cd "$1/package" || exit 1
}

# How the code is built. Without optimization the thread sanitizer of this toolchain does not see memcpy of a constant
# size, which is what every access to a packet is; with it, it sees a plain load or store.
options() {
    case $1 in
    address) echo "--sanitize=address -Xcc -fsanitize=address" ;;
    thread) echo "--sanitize=thread -Xcc -fsanitize=thread -c release -Xswiftc -enable-testing" ;;
    esac
}

run() { # run SANITIZER SCRATCH LOG arguments...
    local sanitizer=$1 scratch=$2 log=$3
    shift 3
    # shellcheck disable=SC2046
    APUS_CORE_ONLY=1 SWIFT_BACKTRACE=enable=no timeout 300 swift test --disable-xctest --skip-build \
        --scratch-path "$scratch" $(options "$sanitizer") "$@" >"$log" 2>&1
}

suite() { # suite NAME SANITIZER REPORT MILLISECONDS filter-arguments...
    local name=$1 sanitizer=$2 report=$3 milliseconds=$4
    shift 4
    local scratch=$repository/.build-$name
    local log=$scratch/$name.log
    local status
    prepare "$scratch"
    SECONDS=0
    # shellcheck disable=SC2046
    APUS_CORE_ONLY=1 timeout 600 swift build --build-tests --scratch-path "$scratch" $(options "$sanitizer") \
        >"$log" 2>&1
    status=$?
    check "$name: build ($SECONDS s)" "$([ $status = 0 ] && echo true || echo false)" "$log"
    [ $status = 0 ] || return

    APUS_CANARY=$name run "$sanitizer" "$scratch" "$scratch/canary.log" --filter CanaryTests
    check "$name: the canary is reported" \
        "$(grep -aq "$report" "$scratch/canary.log" && echo true || echo false)" "$scratch/canary.log"

    SECONDS=0
    export APUS_CONCURRENCY_MS=${APUS_CONCURRENCY_MS_GIVEN:-$milliseconds}
    run "$sanitizer" "$scratch" "$log" "$@"
    status=$?
    grep -aqE "Test run with [1-9][0-9]* tests? .*passed" "$log" || status=1
    check "$name: tests pass ($SECONDS s)" "$([ $status = 0 ] && echo true || echo false)" "$log"
    check "$name: $(grep -acE 'SUMMARY: [A-Za-z]*Sanitizer' "$log") reports" \
        "$(grep -aqE '(Address|Thread|Leak)Sanitizer' "$log" && echo false || echo true)" "$log"
}

command -v swift >/dev/null || {
    echo "swift is not on PATH"
    exit 1
}
APUS_CONCURRENCY_MS_GIVEN=${APUS_CONCURRENCY_MS:-}
for wanted in "${@:-asan tsan}"; do
    for name in $wanted; do
        case $name in
        asan) suite asan address "SUMMARY: AddressSanitizer: heap-buffer-overflow" 500 ;;
        tsan) suite tsan thread "SUMMARY: ThreadSanitizer: data race" 2000 --filter 'ConcurrencyTests|GraceTests|AddressTests' ;;
        *)
            echo "unknown sanitizer: $name"
            exit 2
            ;;
        esac
    done
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
