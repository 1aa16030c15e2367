#!/usr/bin/env bash
# Train on several GPUs (or CPU processes): bash tools/dist_train.sh CONFIG GPUS [arguments of train.py]
# Several machines, restarts, logs: docs/scale.md
exec bash "$(dirname "$0")/_launch.sh" train "$@"
