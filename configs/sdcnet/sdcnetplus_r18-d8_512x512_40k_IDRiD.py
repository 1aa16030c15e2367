# SDC-Net+ on IDRiD: the main config.
#   python tools/train.py configs/sdcnet/sdcnetplus_r18-d8_512x512_40k_IDRiD.py
# Data: IDRiD in $IDRID_ROOT. Hardware: one H100, 40,000 times 12 ms. Metric: mean AP 63.0 on the test images (docs/results.md).
_base_ = [
    '../_base_/models/sdcnetplus_r18-d8.py', '../_base_/datasets/IDRiD_512x512.py', '../_base_/schedules/schedule_40k.py', '../default_runtime.py'
]
model = dict(test_cfg=dict(thresholds=(0.25, 0.23, 0.24, 0.13)))  # of the highest Dice after 20,000 iterations on fold 0 (docs/sdcnet.md)
cuda_graph = True  # on one GPU steps are recorded and replayed (docs/performance.md)
