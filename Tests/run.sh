#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every test, in an order in which the cheap ones speak first. Stops at nothing: all failures are listed at the end,
# under the plain sum that the last line is. `make test` builds what is tested before.
set -u
cd "$(dirname "$0")/.."
export SWIFT_BACKTRACE=enable=no
logs=build/test-logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0
broken=()

# suite NAME COMMAND...: run, show the tail, add up "N passed, N failed[, N skipped]" or SwiftPM's own closing line.
suite() {
	local name=$1 log="$logs/${1// /-}.log" start=$SECONDS status=0
	shift
	printf '\n==> %s\n' "$name"
	"$@" >"$log" 2>&1 || status=$?
	local p=0 f=0 s=0 line
	while read -r line; do
		if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
			p=$((p + BASH_REMATCH[1])) f=$((f + BASH_REMATCH[2])) s=$((s + ${BASH_REMATCH[4]:-0}))
		elif [[ $line =~ Test\ run\ with\ ([0-9]+)\ tests?.*passed ]]; then
			p=$((p + BASH_REMATCH[1]))
		elif [[ $line =~ Test\ run\ with\ ([0-9]+)\ tests?.*failed\ after.*with\ ([0-9]+)\ issue ]]; then
			f=$((f + BASH_REMATCH[2]))
		fi
	done < <(tr -d '\r' <"$log")
	if [ $status -ne 0 ] && [ $f -eq 0 ]; then f=1; fi
	if [ $status -eq 0 ] && [ $((p + s)) -eq 0 ]; then
		echo "    no test was executed" && f=$((f + 1))
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
	printf '    %d passed, %d failed, %d skipped in %d s\n' $p $f $s $((SECONDS - start))
	grep -E '^SKIP' "$log" | sed 's/^/    /' || true
	if [ $f -ne 0 ]; then
		broken+=("$name")
		tail -n 60 "$log" | sed 's/^/    | /'
	fi
}

suite "gates" python3 Tests/Gates/gates.py
suite "consumers" python3 Tests/Consumers/run.py
suite "swift tests" swift test --quiet
suite "policy and replay" python3 Tests/PolicyReplay/test_replay.py build/bin/apusctl
suite "import" python3 Tests/PolicyReplay/test_import.py build/bin/apusctl
suite "reference model" make -s -C Tests/Model check
suite "wire" make -s -C Tests/Wire check
suite "dpdk" make -s -C Tests/DPDK check
suite "benchmarks" make -s -C Tests/Benchmarks check
suite "instructions per packet" Benchmarks/bench.py guard
suite "sanitizers" Tests/ApusTests/run-sanitizers.sh
suite "fuzz" Tests/Fuzz/run.sh 20
suite "end to end" python3 Tests/EndToEnd/test_end_to_end.py
suite "end to end book flows" python3 Tests/EndToEnd/test_book_flows.py
suite "end to end policy" python3 Tests/EndToEnd/test_policy.py
suite "end to end IPv6" python3 Tests/EndToEnd/test_ipv6.py
suite "end to end Open vSwitch" python3 Tests/EndToEnd/test_open_vswitch.py
suite "end to end gateway" python3 Tests/EndToEnd/test_gateway.py

printf '\nLogs: %s/\n' "$logs"
for name in ${broken[@]+"${broken[@]}"}; do echo "BROKEN: $name ($logs/${name// /-}.log)"; done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
