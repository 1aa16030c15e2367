# SDC-Net+ on IDRiD: the main config.
#   python tools/train.py configs/sdcnet/sdcnetplus_r18-d8_512x512_40k_IDRiD.py
# Data: IDRiD in $IDRID_ROOT. Hardware and metric: a short run is in docs/results.md; all 40,000 iterations: not measured.
_base_ = [
    '../_base_/models/sdcnetplus_r18-d8.py', '../_base_/datasets/IDRiD_512x512.py', '../_base_/schedules/schedule_40k.py', '../default_runtime.py'
]
cuda_graph = True  # on one GPU steps are recorded and replayed (docs/performance.md)
