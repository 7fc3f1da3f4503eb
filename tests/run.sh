#!/bin/bash
# Builds and tests everything: a release build, then AddressSanitizer and
# UndefinedBehaviorSanitizer, then ThreadSanitizer for what has threads.
#   tests/run.sh                 all three
#   tests/run.sh release         only those named: release, asan, tsan
#   WEFT_JOBS=4 tests/run.sh     compile and test with 4 jobs (default: the number of cores)
# The last line is the sum over all builds; the exit code is 0 only when nothing failed. One or two
# tests of a build that fail beside thousands of others on few cores may pass when they run alone,
# three times each: these are named at the end, and each is a fault to be mended. What a sanitizer
# has reported, a crash and a test that never came to its end are failures for good.
set -euo pipefail
cd -P "$(dirname "$0")/.."

builds=("$@")
[ ${#builds[@]} -gt 0 ] || builds=(release asan tsan)
jobs=${WEFT_JOBS:-$(nproc)}
# What runs under ThreadSanitizer: the folders whose code has threads.
tsan_folders=(base runtime jobs store store_contract redis stream worker handlers rpc client admin)

running=
stop_running() { [ -z "$running" ] || kill -TERM -- "-$running" 2>/dev/null || true; }
trap stop_running EXIT
trap 'exit 130' INT TERM

# Runs a command in a process group of its own, so that an interrupted run stops all of it.
run() {
  set -m
  "$@" </dev/null &
  running=$!
  set +m
  local code=0
  wait "$running" || code=$?
  running=
  return "$code"
}

folder_of() {
  case $1 in
    release) echo build ;;
    asan) echo build-asan ;;
    tsan) echo build-tsan ;;
    *)
      echo "run.sh: no build named '$1'; use release, asan or tsan" >&2
      exit 2
      ;;
  esac
}

# Adds up what ctest itself reported: "passed failed skipped".
count() {
  python3 - "$1" <<'PYTHON'
import sys
import xml.etree.ElementTree as tree

passed = failed = skipped = 0
for case in tree.parse(sys.argv[1]).getroot().iter("testcase"):
    reason = case.find("skipped")
    if case.get("status") == "run":
        passed += 1
    elif reason is not None and reason.get("message", "").startswith("SKIP_"):
        skipped += 1  # the test itself said that it cannot run here
    else:
        failed += 1
print(passed, failed, skipped)
PYTHON
}

# Says again which tests failed and how: their output is far above by now.
tell_failures() {
  python3 - "$1" "$2" <<'PYTHON'
import sys
import xml.etree.ElementTree as tree

lines = 40  # of each, the last ones
for case in tree.parse(sys.argv[2]).getroot().iter("testcase"):
    reason = case.find("skipped")
    skipped = reason is not None and reason.get("message", "").startswith("SKIP_")
    if case.get("status") == "run" or skipped:
        continue
    print(f"== {sys.argv[1]}: FAILED: {case.get('name')} after {case.get('time')} s")
    output = (case.findtext("system-out") or "").rstrip().splitlines()
    for line in output[-lines:]:
        print("    " + line[:300])
PYTHON
}

# The failed tests of a report as a pattern for ctest, when they are few and no sanitizer spoke.
failed_alone() {
  python3 - "$1" <<'PYTHON'
import re
import sys
import xml.etree.ElementTree as tree

MOST = 2
REPORTS = re.compile(r"Sanitizer|runtime error:|terminate called|broken invariant")
names = []
for case in tree.parse(sys.argv[1]).getroot().iter("testcase"):
    reason = case.find("skipped")
    if case.get("status") == "run" or (
        reason is not None and reason.get("message", "").startswith("SKIP_")
    ):
        continue
    output = case.findtext("system-out") or ""
    # Only what said itself that an expectation failed, and ended.
    if case.get("status") != "fail" or REPORTS.search(output) or "[  FAILED  ]" not in output:
        sys.exit()
    names.append(re.escape(case.get("name")))
if 0 < len(names) <= MOST:
    print("^(" + "|".join(names) + ")$")
PYTHON
}

# The processes that run a program of a build folder: "pid start", so that a pid used again counts
# as another process. One that a user has started before is not ours.
processes_of() {
  local exe pid
  for exe in /proc/[0-9]*/exe; do
    if [[ "$(readlink "$exe" 2>/dev/null)" == "$PWD/$1/bin/"* ]]; then
      pid=${exe#/proc/}
      pid=${pid%/exe}
      echo "$pid $(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d' ' -f20)"
    fi
  done | LC_ALL=C sort
}

passed=0
failed=0
failures=
for build in "${builds[@]}"; do folder_of "$build" >/dev/null; done
deploy/install-deps.sh
started=$SECONDS
for build in "${builds[@]}"; do
  folder=$(folder_of "$build")
  targets=(all)
  labels=()
  if [ "$build" = tsan ]; then
    targets=("${tsan_folders[@]/%/_test}")
    labels=(-L "^($(IFS='|'; echo "${tsan_folders[*]}"))\$")
  fi
  # So that nothing in the tree stays unbuilt; the sanitized builds have no use for them.
  [ "$build" != release ] || targets+=(runtime_bench store_bench stream_bench)
  before=$(processes_of "$folder")
  phase=$SECONDS
  echo "== $build: configure and build in $folder (${jobs} jobs)"
  if ! run cmake --preset "$build" --log-level=WARNING >/dev/null ||
    ! run cmake --build "$folder" -j "$jobs" --target "${targets[@]}"; then
    echo "== $build: the build failed"
    failed=$((failed + 1))
    continue
  fi
  echo "== $build: built in $((SECONDS - phase)) s; testing"
  phase=$SECONDS
  report="$PWD/$folder/tests.xml"
  rm -f "$report"
  code=0
  run ctest --preset "$build" -j "$jobs" --no-tests=error --output-junit "$report" "${labels[@]}" ||
    code=$?
  if [ -s "$report" ]; then
    read -r run_passed run_failed run_skipped <<<"$(count "$report")"
  else
    run_passed=0
    run_failed=1
    run_skipped=0
  fi
  if [ "$code" -ne 0 ] && [ "$run_failed" -eq 0 ]; then run_failed=1; fi
  alone=
  if [ "$run_failed" -ne 0 ] && [ -s "$report" ]; then alone=$(failed_alone "$report"); fi
  if [ -n "$alone" ]; then
    echo "== $build: again, alone and three times: $alone"
    if run ctest --preset "$build" -j 1 --no-tests=error -R "$alone" --repeat until-fail:3; then
      failures+="== $build: PASSED ONLY ALONE: $alone"$'\n'$(tell_failures "$build" "$report")$'\n'
      run_passed=$((run_passed + run_failed))
      run_failed=0
    fi
  fi
  if [ "$run_failed" -ne 0 ] && [ -s "$report" ]; then
    failures+="$(tell_failures "$build" "$report")"$'\n'
  fi
  passed=$((passed + run_passed))
  failed=$((failed + run_failed))
  echo "== $build: $run_passed passed, $run_failed failed, $run_skipped skipped in $((SECONDS - phase)) s"
  while read -r pid _; do
    echo "== $build: process $pid ($(readlink "/proc/$pid/exe")) was left running"
    failed=$((failed + 1))
  done < <(LC_ALL=C comm -13 <(echo "$before") <(processes_of "$folder") | sed '/^$/d')
done
[ -z "$failures" ] || printf '%s' "$failures"
echo "== all builds: $((SECONDS - started)) s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
