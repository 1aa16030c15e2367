# SDC-Net on fold 0 of IDRiD: a row of the ablation.
#   python tools/train.py configs/sdcnet/sdcnet_r18-d8_512x512_2500_IDRiD_cv.py
# Data: IDRiD in $IDRID_ROOT. Hardware and metric: docs/sdcnet.md.
_base_ = [
    '../_base_/models/sdcnet_r18-d8.py', '../_base_/datasets/IDRiD_cv_512x512.py', '../_base_/schedules/schedule_2500.py',
    '../default_runtime.py'
]
default_hooks = dict(checkpoint=dict(interval=250, max_keep_ckpts=2, save_best='lesion/mAP'), samples=dict(interval=500))
