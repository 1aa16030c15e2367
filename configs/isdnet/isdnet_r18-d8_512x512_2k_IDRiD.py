# ISDNet-R18 on IDRiD in 2,000 iterations: what SDC-Net+ is to be compared with.
#   python tools/train.py configs/isdnet/isdnet_r18-d8_512x512_2k_IDRiD.py
# Data: IDRiD in $IDRID_ROOT. Two CPU cores; mean AP 55.7 on the 27 test images (docs/results.md).
_base_ = [
    '../_base_/models/isdnet_r18-d8.py', '../_base_/datasets/IDRiD_512x512.py', '../_base_/schedules/schedule_2k.py',
    '../default_runtime.py'
]
default_hooks = dict(checkpoint=dict(interval=250), samples=dict(interval=500))
