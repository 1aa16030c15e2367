# SDC-Net+ on four fifths of IDRiD's training images, tested on the last fifth: choices are made here.
#   python tools/train.py configs/sdcnet/sdcnetplus_r18-d8_512x512_2500_IDRiD_cv.py
# Data: IDRiD in $IDRID_ROOT. Hardware and metric: docs/sdcnet.md.
_base_ = [
    '../_base_/models/sdcnetplus_r18-d8.py', '../_base_/datasets/IDRiD_cv_512x512.py', '../_base_/schedules/schedule_2500.py',
    '../default_runtime.py'
]
default_hooks = dict(checkpoint=dict(interval=250, max_keep_ckpts=2, save_best='lesion/mAP'), samples=dict(interval=500))
