#!/usr/bin/env bash
# Checks and benchmarks of one GPU, in independent parts of about four minutes or less each on an H100.
# usage: benchmarks/gpu.sh FOLDER [verify|pretraining|dense|loop]   Without a part, all. Records go to FOLDER.
# PYTHON (default: python) runs it. RECORDINGS (default: tests/reference) are the recorded cases to verify.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:?usage: benchmarks/gpu.sh FOLDER [verify|pretraining|dense|loop]}
parts=${2:-verify pretraining dense loop}
python=${PYTHON:-python}
mkdir -p "$out"
status=0
for part in $parts; do
    case $part in
    verify)
        for attention in plain kernel auto; do
            MIXMAE_BENCH_ATTENTION=$attention $python -m mixmae_bench verify "${RECORDINGS:-tests/reference}" \
                --device cuda 2>&1 | tee "$out/verify-$attention.txt" | tail -n 3 || status=1
        done
        $python -m mixmae_bench verify "${RECORDINGS:-tests/reference}" --device cuda --compile 2>&1 |
            tee "$out/verify-compiled.txt" | tail -n 3 || status=1
        $python -m pytest -q -m gpu tests 2>&1 | tee "$out/gpu-tests.txt" | tail -n 15 || status=1
        ;;
    pretraining | dense) $python benchmarks/gpu.py "$out" "$part" || status=1 ;;
    loop) $python benchmarks/training_loop.py "$out/training-loop/records.jsonl" || status=1 ;;
    *) echo "unknown part $part: verify, pretraining, dense or loop" >&2; exit 2 ;;
    esac
done
exit $status
