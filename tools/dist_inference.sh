#!/usr/bin/env bash
# Share a folder of photographs out over GPUs (or CPU processes):
#   bash tools/dist_inference.sh FOLDER CHECKPOINT GPUS [arguments of inference.py]
exec bash "$(dirname "$0")/_launch.sh" inference "$@"
