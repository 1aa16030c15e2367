#!/usr/bin/env bash
# Build the cpu image where no Docker engine runs, and run in it what users run, as a user that is not root:
#   sudo bash docker/verify.sh [WORK FOLDER]
# Needs root, 12 GB of disk, and Debian's packages buildah and debootstrap. BASE_IMAGE=localhost/... takes a base that buildah has;
# IMAGE=localhost/... an image that was built before, to run the checks alone.
# BUILD_ARGUMENTS="--build-arg PIP_FIND_LINKS=/wheels --volume /wheels:/wheels:ro" passes an index, a mirror, certificates.
set -euo pipefail
CDPATH='' cd -- "$(dirname "$0")/.."
work=${1:-$(mktemp -d)}
mkdir -p "$work"
work=$(CDPATH='' cd -- "$work" && pwd)
image=${IMAGE:-localhost/sdc-net:latest-cpu}
passed=0

b() { buildah --storage-driver vfs --root "$work/storage" --runroot "$work/run" "$@"; }
pass() { passed=$((passed + 1)); echo "ok $passed: $*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }

# ---- the base and the image ----
if [ -z "${IMAGE:-}" ]; then
    if [ -z "${BASE_IMAGE:-}" ]; then
        BASE_IMAGE=localhost/sdcnet-base
        if ! b images "$BASE_IMAGE" > /dev/null 2>&1; then
            [ -x "$work/base/bin/bash" ] || debootstrap --variant=minbase bookworm "$work/base"
            base=$(b from scratch)
            b add -q "$base" "$work/base" / > /dev/null
            b commit -q "$base" "$BASE_IMAGE" > /dev/null
            b rm "$base" > /dev/null
        fi
    fi
    # shellcheck disable=SC2086 # several words
    b bud --isolation chroot --format docker --target cpu -f docker/Dockerfile --build-arg BASE_IMAGE="$BASE_IMAGE" \
        ${BUILD_ARGUMENTS:-} -t "$image" .
    pass "the image is built: $(b images --format '{{.Size}}' "$image")"
fi
container=$(b from "$image")
trap 'b rm "$container" > /dev/null' EXIT

# in_image [buildah's options] -- COMMAND: as "docker run sdc-net COMMAND" does it
in_image() {
    local options=()
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    b run --isolation chroot "${options[@]}" "$container" -- /usr/bin/tini -s -g -- bash /app/docker/entrypoint.sh "$@"
}
expect() {  # TEXT FILE
    grep -qF -- "$1" "$2" || { cat "$2" >&2; fail "expected '$1'"; }
}
log=$work/log

# ---- the start ----
code=0
in_image -- /bin/bash -c 'exit 7' > "$log" 2>&1 || code=$?
[ "$code" = 7 ] || { cat "$log" >&2; fail "the command's exit code was lost: got $code, expected 7"; }
expect "WARNING: no folder for results is mounted" "$log"
expect "IDRID_ROOT: no data found" "$log"
pass "without mounts it starts, says what is missing and whose -v to add, and keeps the command's exit code"

b run --isolation chroot "$container" -- bash -c "find / -xdev \( -name '*.pth' -o -name 'IDRiD*' -o -name '*.npz' \) -size +64k \
    -not -path '/opt/venv/*' -not -path '/app/tests/data/*'" > "$log"
[ ! -s "$log" ] || fail "weights or data lie in the image: $(cat "$log")"
pass "no weights and no data inside"

use=$(mktemp -d "$work/SDC-Net.XXXXXX") data=$(mktemp -d "$work/synthetic.XXXXXX")  # nothing that is there is touched
chown 1234:1235 "$use" "$data"
mounts=(-v "$use:/SDC-Net_use" -v "$data:/home_nfs/jiaoli.liu/ISDNet/data/IDRID")
# shellcheck disable=SC2016 # the container expands it
in_image "${mounts[@]}" -- /bin/bash -c 'echo "$(id -u):$(id -g) $PWD $SDCNET_HOME $IDRID_ROOT $(command -v python)"; ls -d work_dirs/' \
    > "$log" 2>&1
expect "1234:1235 /app /SDC-Net_use /home_nfs/jiaoli.liu/ISDNet/data/IDRID /opt/venv/bin/python" "$log"
expect "results go to /SDC-Net_use" "$log"
pass "the mounts of the first image's guide are found, and their owner runs"
in_image "${mounts[@]}" -- /bin/bash -c 'conda activate base_env' > "$log" 2>&1
expect "not needed here" "$log"
pass "conda activate is harmless"
in_image --user 4321:4321 -v "$use:/SDC-Net_use" -- id -u > "$log" 2>&1
expect 4321 "$log"
pass "--user is honoured"
# shellcheck disable=SC2016
in_image "${mounts[@]}" -- bash -lc 'touch configs/mine.py && [ -w "$(python -c "import site; print(site.getsitepackages()[0])")" ]' \
    > "$log" 2>&1 || { cat "$log"; fail "the owner cannot edit or install"; }
pass "a login shell has Python, and the owner may edit the code and install packages"

# ---- data, training, testing, inference ----
config=configs/sdcnet/sdcnetplus_r18-d8_256x256_demo_synthetic.py
run=/SDC-Net_use/work_dirs/sdcnetplus_r18-d8_256x256_demo_synthetic
small=(--cfg-options train_cfg.max_iters=12 train_dataloader.batch_size=2 train_dataloader.dataset.dataset.data_root=/SDC-Net_use/data
    test_dataloader.dataset.data_root=/SDC-Net_use/data)
in_image "${mounts[@]}" -- python tools/make_synthetic_dataset.py --out /SDC-Net_use/data > "$log" 2>&1 || { cat "$log"; fail data; }
in_image "${mounts[@]}" -- python tools/train.py $config "${small[@]}" > "$log" 2>&1 || { cat "$log"; fail training; }
in_image "${mounts[@]}" -- python tools/test.py $config $run/latest.pth "${small[@]}" --out $run/test > "$log" 2>&1 \
    || { cat "$log"; fail testing; }
[ -s "$use/work_dirs/sdcnetplus_r18-d8_256x256_demo_synthetic/test/report.html" ] || fail "no report"
pass "data made, trained, tested"
in_image "${mounts[@]}" -- bash -c "cp $run/latest.pth /SDC-Net_use/model/
    cp /SDC-Net_use/data/images/test/synthetic_25.jpg /SDC-Net_use/input_img/test.jpg" > "$log" 2>&1
in_image "${mounts[@]}" -- python tools/inference.py > "$log" 2>&1 || { cat "$log"; fail inference; }
[ -s "$use/output_img/test_overlay.png" ] || fail "no overlay in output_img"
pass "python tools/inference.py without arguments: model/latest.pth and input_img/test.jpg to output_img"
in_image "${mounts[@]}" -- bash -c "nohup bash tools/dist_train.sh $config 2 ${small[*]} --work-dir $run/two > /SDC-Net_use/train.log 2>&1 &
    wait" > "$log" 2>&1
[ -s "$use/work_dirs/sdcnetplus_r18-d8_256x256_demo_synthetic/two/latest.pth" ] || { cat "$use/train.log"; fail "dist_train.sh"; }
pass "nohup bash tools/dist_train.sh with two processes"
[ -z "$(find "$use" -not -user 1234)" ] || fail "files of another owner: $(find "$use" -not -user 1234 | head -n 3)"
pass "every file belongs to the owner of the mount"

only=$(mktemp -d "$work/only_work_dirs.XXXXXX")
chown 1234:1235 "$only"
# shellcheck disable=SC2016
in_image -v "$only:/app/work_dirs" -- bash -c 'touch "$SDCNET_HOME/work_dirs/found"' > "$log" 2>&1
[ -e "$only/found" ] || { cat "$log"; fail "/app/work_dirs"; }
pass "with only /app/work_dirs mounted, results go there"
in_image "${mounts[@]}" -- /app/docker/healthcheck.sh > "$log" 2>&1 || { cat "$log"; fail healthcheck; }
pass "the health check is content"
echo "$passed checks passed; no GPU was used"
echo "left in $work: the image (buildah --root), and what the runs wrote; remove it when done"
