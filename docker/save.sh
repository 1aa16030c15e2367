#!/usr/bin/env bash
# Write the image to sdcnet.tar (cpu: sdcnet-cpu.tar) with a checksum, for a machine without a network: bash docker/save.sh [gpu|cpu] [FILE]
# On that machine: sha256sum -c sdcnet.tar.sha256 && docker load -i sdcnet.tar
# What podman saved is then called localhost/sdc-net: docker tag localhost/sdc-net:latest sdc-net:latest
set -euo pipefail
target=${1:-gpu}
case $target in
    gpu) suffix="" ;;
    cpu) suffix=-cpu ;;
    *) echo "error: got '$target', expected: save.sh [gpu|cpu] [FILE]" >&2; exit 2 ;;
esac
file=${2:-sdcnet$suffix.tar}
version=$(sed -n 's/__version__ = "\(.*\)"/\1/p' "$(dirname "$0")/../mmseg/version.py")
trap 'rm -f "$file.part"' EXIT  # a half-written file is never taken for the image
"${ENGINE:-docker}" save -o "$file.part" "sdc-net:latest$suffix" "sdc-net:$version$suffix"
mv "$file.part" "$file"
sum=(sha256sum)
command -v sha256sum > /dev/null || sum=(shasum -a 256)  # macOS
(CDPATH='' cd -- "$(dirname "$file")" && "${sum[@]}" "$(basename "$file")" > "$(basename "$file").sha256")
echo "wrote $file and $file.sha256. There: sha256sum -c $(basename "$file").sha256 && docker load -i $(basename "$file")"
