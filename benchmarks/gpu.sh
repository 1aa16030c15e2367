#!/usr/bin/env bash
# What is to be known of a GPU, part by part: bash benchmarks/gpu.sh OUT [PART ...]
#   tests      the tests that need one
#   step       a training step: bfloat16 against float32, torch's own ways, compiled, images on the host
#   graph      300 iterations of training with cuda_graph and without: compare `time` in the logs
#   inference  one photograph
#   train      SDC-Net+ and ISDNet for 2,000 iterations each, and their scores on IDRiD's test images
#   ablation   the rows of docs/sdcnet.md, $JOBS at once (default 8; NVIDIA's MPS makes them faster); not among the default parts
# A part that fails or takes more than ten minutes ends alone (exit code 1 in the end). OUT gets a log and, where there are numbers, a JSON file of each.
# IDRiD in $IDRID_ROOT; PYTHON names another interpreter; ITERATIONS another length of training.
set -uo pipefail
CDPATH='' cd -- "$(dirname "$0")/.."
out=${1:?expected a folder for the results: bash benchmarks/gpu.sh OUT [PART ...]}
shift
parts=${*:-tests step graph inference train}
python=${PYTHON:-python}
sdcnet=configs/sdcnet/sdcnetplus_r18-d8_512x512_2k_IDRiD.py
isdnet=configs/isdnet/isdnet_r18-d8_512x512_2k_IDRiD.py
failed=0
mkdir -p "$out"

measure() { # NAME COMMAND...
    local name=$1 began=$SECONDS
    shift
    timeout 600 "$@" > "$out/$name.log" 2>&1
    local code=$?
    echo "== $name: exit code $code, $((SECONDS - began)) s, $out/$name.log"
    tail -n 6 "$out/$name.log"
    [ $code -eq 0 ] || failed=1
    return $code
}

step() { # NAME CONFIG ARGUMENTS...
    local name=step_$1 config=$2
    shift 2
    measure "$name" "$python" benchmarks/train_step.py "$config" --steps 30 --json "$out/$name.json" "$@"
}

for part in $parts; do
    case $part in
    tests) measure tests "$python" -m pytest -q -m gpu ;;
    step)
        step sdcnetplus $sdcnet
        step sdcnetplus_compiled $sdcnet --ways default --cfg-options compile=True
        step sdcnetplus_host $sdcnet --ways default --cfg-options train_dataloader.dataset.cache=host
        step isdnet $isdnet
        ;;
    graph)
        for graph in True False; do
            measure "graph_$graph" "$python" tools/train.py configs/sdcnet/sdcnetplus_r18-d8_512x512_10k_IDRiD.py \
                --work-dir "$out/graph_$graph" --cfg-options train_cfg.max_iters=300 cuda_graph=$graph
        done
        ;;
    inference)
        measure inference_sdcnetplus "$python" benchmarks/inference.py $sdcnet --json "$out/inference_sdcnetplus.json"
        measure inference_isdnet "$python" benchmarks/inference.py $isdnet --json "$out/inference_isdnet.json"
        ;;
    train)
        for config in $sdcnet $isdnet; do
            name=$(basename "$config" .py)
            measure "train_$name" "$python" tools/train.py "$config" --work-dir "$out/$name" --resume \
                ${ITERATIONS:+--cfg-options train_cfg.max_iters="$ITERATIONS"} &&
                measure "test_$name" "$python" tools/test.py "$config" "$out/$name/latest.pth" --work-dir "$out/$name" --out "$out/test_$name"
        done
        ;;
    ablation) measure ablation "$python" benchmarks/ablation.py --jobs "${JOBS:-8}" --folder "$out/ablation" --json "$out/ablation.json" ;;
    *) echo "error: got part '$part', expected tests, step, graph, inference, train or ablation" >&2; exit 2 ;;
    esac
done
exit $failed
