#!/usr/bin/env bash
# Build the image: bash docker/build.sh [gpu|cpu]
# ENGINE=podman for another engine; PLATFORM=linux/amd64 for servers, where this machine has another processor. BASE_IMAGE, APT_MIRROR, PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, PIP_DEFAULT_TIMEOUT, PIP_RETRIES and the proxies are passed on where set.
set -euo pipefail
CDPATH='' cd -- "$(dirname "$0")/.."
target=${1:-gpu}
case $target in
    gpu) suffix="" ;;
    cpu) suffix=-cpu BASE_IMAGE=${BASE_IMAGE:-docker.io/library/debian:bookworm-slim} ;;
    *) echo "error: got '$target', expected: build.sh [gpu|cpu]" >&2; exit 2 ;;
esac
version=$(sed -n 's/__version__ = "\(.*\)"/\1/p' mmseg/version.py)
arguments=()
[ -z "${PLATFORM:-}" ] || arguments+=(--platform "$PLATFORM")
for name in BASE_IMAGE APT_MIRROR PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_DEFAULT_TIMEOUT PIP_RETRIES \
        http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    [ -z "${!name:-}" ] || arguments+=(--build-arg "$name=${!name}")
done
engine=${ENGINE:-docker}
# BUILDAH_FORMAT: podman's own format knows no HEALTHCHECK. An empty array is no error in old versions of bash this way alone.
DOCKER_BUILDKIT=1 BUILDAH_FORMAT=docker "$engine" build -f docker/Dockerfile --target "$target" ${arguments[@]+"${arguments[@]}"} \
    -t "sdc-net:latest$suffix" -t "sdc-net:$version$suffix" .
platform=$("$engine" image inspect --format '{{.Os}}/{{.Architecture}}' "sdc-net:latest$suffix" 2> /dev/null || echo unknown)
echo "built sdc-net:latest$suffix and sdc-net:$version$suffix for $platform; bash docker/save.sh $target writes it to a file"
