# shellcheck shell=bash disable=SC2034
# Sourced by the scripts beside it: sets "$tools", their folder, and "$python": what PYTHON names, else that of .venv where no
# environment is active, else that of the PATH.
tools=$(CDPATH='' cd -- "$(dirname "$0")" && pwd)
python=${PYTHON:-python}
active=${VIRTUAL_ENV:-}
[ "${CONDA_DEFAULT_ENV:-base}" = base ] || active=${active:-${CONDA_PREFIX:-}}  # conda starts its base unasked
if [ -z "${PYTHON:-}" ] && [ -x "$tools/../.venv/bin/python" ] && [ -z "$active" ]; then
    python=$tools/../.venv/bin/python
fi
