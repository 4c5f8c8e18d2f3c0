#!/usr/bin/env bash
# Ten minutes on a GPU machine: checks it, runs the device tests, measures, and keeps each result as it comes.
#
#   benchmarks/gpu_session.sh --plans plans machine tests mmlu-0shot      (one call; see docs/gpu.md for three)
#   benchmarks/gpu_session.sh --small                                     (anywhere: a check that it runs)
#
# Every step is a process of its own, bounded in time, and useful alone: one that fails does not stop the others.
# Environment: OUT, the folder of the results (gpu-session); BUDGET_S, seconds for all steps (570); DEVICE (cuda);
# SHAPE (500M); CHECKPOINTS (27); PYTHON (python3); LEAST_S, seconds without which no step is begun (15).
# In OUT: results.jsonl has a line per measurement, steps.tsv one per step, session.log all that was printed.
# Exit status: 0 if every step ended well, 1 if one failed or ran out of time, 2 for a wrong command.
set -u

ALL=(machine tests mmlu-0shot mmlu-5shot ratio sizes hellaswag generation profile kernels)
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
out=${OUT:-gpu-session} budget=${BUDGET_S:-570} device=${DEVICE:-cuda} shape=${SHAPE:-500M}
checkpoints=${CHECKPOINTS:-27} python=${PYTHON:-python3}
least=${LEAST_S:-15} plans= small=() steps=()

wrong() {
  echo "error: $1" >&2
  echo "hint: benchmarks/gpu_session.sh --plans FOLDER|--small [STEP ...]; steps: ${ALL[*]}" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case $1 in
    --small) small=(--small) device=cpu shape=tiny checkpoints=2 ;;
    --plans) [ $# -gt 1 ] || wrong "--plans needs a folder"; plans=$2; shift ;;
    -*) wrong "unknown option $1" ;;
    *) [[ " ${ALL[*]} " == *" $1 "* ]] || wrong "unknown step $1"; steps+=("$1") ;;
  esac
  shift
done
[ ${#steps[@]} -gt 0 ] || steps=("${ALL[@]}")
[ ${#small[@]} -gt 0 ] || [ -d "$plans" ] || wrong "no folder of plans (benchmarks/saved_plans.py writes one)"

mkdir -p "$out" || exit 2
export PYTHONPATH="$root/src:$root${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
export TOKENIZERS_PARALLELISM=false
[ -s "$out/steps.tsv" ] || printf 'step\tstatus\tseconds\tsaid\n' > "$out/steps.tsv"
failed=0
# The checkpoints of a shape serve several steps; 27 of 500M are 27 GB, in memory where it is a file system.
[ -d /dev/shm ] && series=$(mktemp -d /dev/shm/milepost-series.XXXXXX) || series=$(mktemp -d)
trap 'rm -rf "$series"' EXIT

# step NAME LIMIT_S COMMAND...: runs it within its limit and what is left of the budget.
step() {
  local name=$1 limit=$2 left=$((budget - SECONDS)) began=$SECONDS status log
  shift 2
  log=$(mktemp)
  if [ "$left" -lt "$least" ]; then
    status=no-time
  else
    [ "$limit" -le "$left" ] || limit=$left
    echo "== $name (at most $limit s): $*" | tee -a "$out/session.log"
    timeout -s INT -k 30 "$limit" "$@" 2>&1 | tee "$log" | tee -a "$out/session.log"
    status=${PIPESTATUS[0]}
  fi
  [ "$status" = 0 ] || failed=1
  printf '%s\t%s\t%s\t%s\n' "$name" "$status" $((SECONDS - began)) "$(tail -n 1 "$log" | tr '\t' ' ' | cut -c 1-200)" \
    >> "$out/steps.tsv"
  rm -f "$log"
}

bench() { # bench NAME LIMIT_S SCRIPT ARGUMENTS...
  local name=$1 limit=$2 script=$3
  shift 3
  step "$name" "$limit" "$python" "$here/$script" --device "$device" --out "$out" "${small[@]}" "$@"
}

job() { # job NAME LIMIT_S PLAN SHAPE CHECKPOINTS: a whole run, interrupted in time to report what it has done
  local limit=$2 left=$((budget - SECONDS))
  [ "$limit" -le "$left" ] || limit=$left
  [ "$limit" -le 100 ] || limit=$((limit - 60))
  bench "$1" "$2" gpu.py --plan "$plans/$3" --shape "$4" --checkpoints "$5" --series "$series/$4-$5" --limit-s "$limit"
}

for one in "${steps[@]}"; do
  case $one in
    machine)
      [ ${#small[@]} -gt 0 ] || step nvidia-smi 20 nvidia-smi
      bench machine 120 gpu_machine.py --shape "$shape"
      ;;
    tests)
      # By file: other tests import libraries that a machine which only scores lacks.
      mapfile -t files < <(grep -rl --include='test_*.py' 'pytest.mark.gpu' "$root/tests/engine")
      if [ ${#small[@]} -gt 0 ]; then
        step tests 120 "$python" -m pytest -q -m gpu --collect-only "${files[@]}"
      else
        # Most of a test's time is compiling, on one core.
        "$python" -c 'import xdist' 2> /dev/null && parallel=(-n 12) || parallel=()
        step tests 300 "$python" -m pytest -q -m gpu -p no:cacheprovider "${parallel[@]}" "${files[@]}"
      fi
      ;;
    mmlu-0shot) job "$one" 400 mmlu-0shot "$shape" "$checkpoints" ;;
    mmlu-5shot) job "$one" 400 mmlu-5shot "$shape" "$checkpoints" ;;
    hellaswag) job "$one" 200 hellaswag "$shape" 3 ;;
    ratio)
      bench ratio-5shot 200 gpu_ratio.py --plan "$plans/mmlu-5shot" --shape "$shape"
      [ ${#small[@]} -gt 0 ] || bench ratio-0shot 120 gpu_ratio.py --plan "$plans/mmlu-0shot" --shape "$shape"
      ;;
    sizes)
      job 135M 150 mmlu-0shot 135M 3
      [ ${#small[@]} -gt 0 ] || job 1B 200 mmlu-0shot 1B 3
      ;;
    generation)
      bench generation 180 gpu_generate.py --plan "$plans/gsm8k" --tokenizer "$plans/tokenizer" --shape "$shape"
      ;;
    profile) bench profile 150 gpu_profile.py --plan "$plans/mmlu-0shot" --shape "$shape" ;;
    kernels) bench kernels 150 gpu_kernels.py ;;
  esac
done
echo "== steps"
cat "$out/steps.tsv"
exit $failed
