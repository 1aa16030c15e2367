# SDC-Net+ on a mixture of IDRiD and DDR, validated on DDR's validation images, tested on IDRiD's test images.
#   python tools/train.py configs/sdcnet/sdcnetplus_r18-d8_512x512_40k_IDRiD-DDR.py
# Data: IDRiD in $IDRID_ROOT, DDR in $DDR_ROOT. Hardware: not measured. Metric to expect: not measured.
_base_ = [
    '../_base_/models/sdcnetplus_r18-d8.py', '../_base_/datasets/IDRiD_DDR_512x512.py', '../_base_/schedules/schedule_40k.py',
    '../default_runtime.py'
]
train_cfg = dict(val_interval=2000)
default_hooks = dict(checkpoint=dict(save_best='lesion/mAP'))
cuda_graph = True  # on one GPU steps are recorded and replayed (docs/performance.md)
