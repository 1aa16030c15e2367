#!/usr/bin/env bash
# _launch.sh TOOL POSITION ARGUMENTS: run tools/TOOL.py under torchrun; the number of processes is argument POSITION.
set -euo pipefail
tool=$1 position=$2
shift 2
if [ "$#" -lt "$position" ] || ! [[ "${!position}" =~ ^[1-9][0-9]*$ ]]; then
    echo "error: got '$*', expected: dist_$tool.sh CONFIG $([ "$tool" = test ] && echo 'CHECKPOINT ')GPUS [arguments]" >&2
    exit 2
fi
processes=${!position}
positional=("${@:1:position-1}")
rest=("${@:position+1}")

tools=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python}
if [ -z "${PYTHON:-}" ] && [ -x "$tools/../.venv/bin/python" ] && [ -z "${VIRTUAL_ENV:-}" ]; then
    python=$tools/../.venv/bin/python
fi

if [ "${NNODES:-1}" = 1 ] && [ -z "${PORT:-}" ]; then
    where=(--standalone)
else
    where=(--nnodes "${NNODES:-1}" --node_rank "${NODE_RANK:-0}" --master_addr "${MASTER_ADDR:-127.0.0.1}" --master_port "${PORT:-29500}")
fi
# Processes on a CPU share its cores; without this each would take them all.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((($(nproc) + processes - 1) / processes))}
exec "$python" -m torch.distributed.run "${where[@]}" --nproc_per_node "$processes" \
    "$tools/$tool.py" "${positional[@]}" --launcher pytorch "${rest[@]}"
