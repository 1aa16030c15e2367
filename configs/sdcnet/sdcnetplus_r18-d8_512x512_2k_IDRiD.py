# SDC-Net+ on IDRiD in 2,000 iterations, for a machine without a GPU.
#   python tools/train.py configs/sdcnet/sdcnetplus_r18-d8_512x512_2k_IDRiD.py
# Data: IDRiD in $IDRID_ROOT. Hardware: two CPU cores, 1 h 39 min. Metric: mean AP 62.5 (docs/results.md).
_base_ = [
    '../_base_/models/sdcnetplus_r18-d8.py', '../_base_/datasets/IDRiD_512x512.py', '../_base_/schedules/schedule_2k.py',
    '../default_runtime.py'
]
default_hooks = dict(checkpoint=dict(interval=250), samples=dict(interval=500))
model = dict(test_cfg=dict(thresholds=(0.15, 0.30, 0.16, 0.48)))  # of the highest Dice on fold 0, not of these images (docs/sdcnet.md)
