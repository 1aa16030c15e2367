#!/usr/bin/env bash
# Healthy: the disk of the results has room for a checkpoint, and the GPU that was there at the start still is.
results=${SDCNET_HOME:-/SDC-Net_use}/work_dirs
free=$(df --output=avail -k "$results" | tail -n 1)
if [ "${free:-0}" -lt 1048576 ]; then
    echo "$results: less than 1 GiB free"
    exit 1
fi
if [ -e /tmp/.sdcnet-gpu ] && ! nvidia-smi -L > /dev/null 2>&1; then
    echo "the GPU is gone; restart the container (docker restart)"
    exit 1
fi
