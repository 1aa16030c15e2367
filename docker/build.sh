#!/usr/bin/env bash
# Build the image: bash docker/build.sh [gpu|cpu]
# ENGINE=podman for another engine. BASE_IMAGE, APT_MIRROR, PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS are passed on where set.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${1:-gpu}
case $target in
    gpu) suffix="" ;;
    cpu) suffix=-cpu BASE_IMAGE=${BASE_IMAGE:-debian:bookworm-slim} ;;
    *) echo "error: got '$target', expected: build.sh [gpu|cpu]" >&2; exit 2 ;;
esac
version=$(sed -n 's/__version__ = "\(.*\)"/\1/p' mmseg/version.py)
arguments=()
for name in BASE_IMAGE APT_MIRROR PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS; do
    [ -z "${!name:-}" ] || arguments+=(--build-arg "$name=${!name}")
done
DOCKER_BUILDKIT=1 "${ENGINE:-docker}" build -f docker/Dockerfile --target "$target" "${arguments[@]}" \
    -t "sdc-net:latest$suffix" -t "sdc-net:$version$suffix" .
echo "built sdc-net:latest$suffix and sdc-net:$version$suffix; bash docker/save.sh $target writes it to a file"
