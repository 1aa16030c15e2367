#!/usr/bin/env bash
# The image's start: find the data, the folder for results and its owner, tell what is wrong, and run the command as that owner.
# Nothing here stops the command: who asks for a shell gets one. SDCNET_CHECK=0 leaves the machine's check out.
# ROOT, MOUNTINFO and AS_USER are for the tests.
set -uo pipefail
root=${ROOT:-}
mountinfo=${MOUNTINFO:-/proc/self/mountinfo}
home=${SDCNET_HOME:-/SDC-Net_use}

say() { echo "sdc-net: $*" >&2; }
home=${home%/}
# A folder above $SDCNET_HOME that is mounted holds it, too; /app and what is below must be mounted themselves.
is_mounted() {
    awk -v path="$1" -v home="$home" '
        $5 == path || (path == home && $5 != "/" && index(path "/", $5 "/") == 1) { found = 1 } END { exit !found }' "$mountinfo"
}

# The first that is there; the last are the paths of the first SDC-Net image.
find_data() {  # NAME PATH...
    local name=$1 path
    shift
    for path in "${!name:-}" "$@"; do
        if [ -n "$path" ] && [ -d "$root$path" ]; then
            export "$name=$path"
            say "$name=$path"
            return
        fi
    done
    say "$name: no data found; looked at ${*}. Mount them: -v <host folder>:$1:ro"
}
old=/home_nfs/jiaoli.liu/ISDNet/data
find_data IDRID_ROOT /data/IDRID "$old/IDRID" "$old/IDRiD"
find_data FGADR_ROOT /data/FGADR "$old/FGADR"
find_data DDR_ROOT /data/DDR "$old/DDR"

# Where results go: the first mounted of these.
results=""
for path in "$home/work_dirs" "$home" /app/work_dirs; do
    if is_mounted "$path"; then
        results=$path
        break
    fi
done
case $results in
    "") say "WARNING: no folder for results is mounted. \`docker rm\` would destroy all of $home/work_dirs. Start again with"
        say "    docker run ... -v \"\$(pwd)/SDC-Net\":$home ...        or  -v \"\$(pwd)/work_dirs\":/app/work_dirs" ;;
    *) say "results go to $results, which is mounted" ;;
esac
# $SDCNET_HOME/work_dirs and /app/work_dirs are one folder, whichever is mounted.
link() {  # TARGET NAME
    [ -e "$root$2" ] || ln -s "$1" "$root$2" 2> /dev/null || say "$2 could not be made; results are in $1"
}
if [ "$root$home" -ef "$root/app" ]; then
    :  # a checkout that is mounted as both, as the dev container does it: they are one already
elif { is_mounted "$home" || is_mounted "$home/work_dirs"; } && is_mounted /app/work_dirs \
    && ! [ "$root$home/work_dirs" -ef "$root/app/work_dirs" ]; then
    say "WARNING: folders for results are mounted at $home and at /app/work_dirs: runs go to $home/work_dirs, and work_dirs/ in /app is another folder;"
    say "    mount one of the two"
elif [ "$results" = /app/work_dirs ]; then
    link /app/work_dirs "$home/work_dirs"
elif is_mounted /app; then
    say "/app is a checkout of yours: no link work_dirs is made in it; the configs' runs go to $home/work_dirs"
else
    [ "$results" = "$home" ] || mkdir -p "$root$home/work_dirs" 2> /dev/null
    link "$home/work_dirs" /app/work_dirs
fi

# As whom: the owner of the mounted folder; who was given by --user stays.
drop=()
at=$root${results:-/}
while [ ! -e "$at" ]; do at=$(dirname "$at"); done  # one that is not there yet is to be that of its folder's owner
owner=$(stat -c '%u:%g' "$at" 2> /dev/null || echo 0:0)
user=${AS_USER:-$(id -u)}
if [ "$user" = 0 ] && [ -n "$results" ] && [ "${owner%%:*}" != 0 ]; then
    groups=$(id -G | tr ' ' '\n' | grep -vx 0 | paste -sd, -)  # those of docker run --group-add stay
    drop=(setpriv --reuid "${owner%%:*}" --regid "${owner##*:}" ${groups:+--groups "$groups"})
    [ -n "$groups" ] || drop+=(--clear-groups)
    drop+=(--)
    say "running as ${owner}, the owner of $results"
    if ! getent passwd "${owner%%:*}" > /dev/null; then
        echo "sdcnet:x:$owner::/home/sdc:/bin/bash" >> "$root/etc/passwd"
    fi
    user=${owner%%:*}
elif [ "$user" = 0 ] && [ -n "$results" ]; then
    say "running as root, the owner of $results"
fi
if [ "$user" != 0 ]; then
    # A user without an entry has no home: caches and shells want one.
    export HOME=/home/sdc USER="${USER:-sdc}" LOGNAME="${LOGNAME:-sdc}"
fi

if [ -n "$results" ] && [ -z "$root" ]; then
    made=$results
    [ "$results" = "$home" ] && made=$home/work_dirs
    # An empty folder that is mounted gets its four folders, as the owner.
    "${drop[@]}" mkdir -p "$made" "$home/model" "$home/input_img" "$home/output_img" 2> /dev/null
    for path in "$made" "$home/output_img"; do  # they may be there since root made them
        "${drop[@]}" test -w "$path" || say "WARNING: $path cannot be written by user $user; on the host:" \
            "sudo chown -R \"\$(id -u):\$(id -g)\" <folder>; with SELinux add :z behind the mount"
    done
fi

for name in IDRID_ROOT FGADR_ROOT DDR_ROOT; do
    [ -z "${!name:-}" ] || [ ! -d "$root${!name}" ] || "${drop[@]}" ls "$root${!name}" > /dev/null 2>&1 \
        || say "WARNING: $name=${!name} cannot be read by user $user; add its group by --group-add; with SELinux put :ro,z behind the mount"
done

command -v nvidia-smi > /dev/null && nvidia-smi -L > /dev/null 2>&1 && touch "${root:-}/tmp/.sdcnet-gpu" 2> /dev/null
if [ "${SDCNET_CHECK:-1}" != 0 ]; then
    "${drop[@]}" python /app/tools/check.py --machine >&2 || true
fi
exec "${drop[@]}" "$@"
