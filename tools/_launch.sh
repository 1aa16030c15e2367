#!/usr/bin/env bash
# _launch.sh TOOL ARGUMENTS: find Python, then let _launch.py run tools/TOOL.py as several processes.
set -euo pipefail
tools=$(CDPATH='' cd -- "$(dirname "$0")" && pwd)
python=${PYTHON:-python}
active=${VIRTUAL_ENV:-}
[ "${CONDA_DEFAULT_ENV:-base}" = base ] || active=${active:-${CONDA_PREFIX:-}}  # conda starts its base unasked
if [ -z "${PYTHON:-}" ] && [ -x "$tools/../.venv/bin/python" ] && [ -z "$active" ]; then
    python=$tools/../.venv/bin/python
fi
exec "$python" "$tools/_launch.py" "$@"
