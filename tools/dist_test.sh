#!/usr/bin/env bash
# Test on several GPUs (or CPU processes): bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
exec bash "$(dirname "$0")/_launch.sh" test "$@"
