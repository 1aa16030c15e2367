#!/usr/bin/env bash
# Train under Slurm: GPUS=8 GPUS_PER_NODE=8 CPUS_PER_TASK=5 bash tools/slurm_train.sh PARTITION JOB CONFIG [arguments of train.py]
set -euo pipefail
if [ "$#" -lt 3 ]; then
    echo "error: got '$*', expected: slurm_train.sh PARTITION JOB CONFIG [arguments]" >&2
    exit 2
fi
partition=$1 job=$2 config=$3
shift 3
# shellcheck source-path=SCRIPTDIR source=_python.sh
. "$(dirname "$0")/_python.sh"
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
export MASTER_PORT=${MASTER_PORT:-$((20000 + RANDOM % 20000))} # two jobs on one node must not meet
# shellcheck disable=SC2086 # SRUN_ARGS holds several words
exec srun -p "$partition" --job-name="$job" --gres="gpu:$per_node" --ntasks="$gpus" --ntasks-per-node="$per_node" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "$python" -u "$tools/train.py" "$config" --launcher slurm "$@"
