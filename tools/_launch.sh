#!/usr/bin/env bash
# _launch.sh TOOL ARGUMENTS: find Python, then let _launch.py run tools/TOOL.py as several processes.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=_python.sh
. "$(dirname "$0")/_python.sh"
exec "$python" "$tools/_launch.py" "$@"
