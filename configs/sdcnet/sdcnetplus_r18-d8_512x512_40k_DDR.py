# SDC-Net+ on DDR; the best checkpoint is chosen on its validation images.
#   python tools/train.py configs/sdcnet/sdcnetplus_r18-d8_512x512_40k_DDR.py
# Data: DDR in $DDR_ROOT. Hardware: not measured. Metric to expect: not measured.
_base_ = [
    '../_base_/models/sdcnetplus_r18-d8.py', '../_base_/datasets/DDR_512x512.py', '../_base_/schedules/schedule_40k.py',
    '../default_runtime.py'
]
train_cfg = dict(val_interval=2000)
default_hooks = dict(checkpoint=dict(save_best='lesion/mAP'))
cuda_graph = True  # on one GPU steps are recorded and replayed (docs/performance.md)
