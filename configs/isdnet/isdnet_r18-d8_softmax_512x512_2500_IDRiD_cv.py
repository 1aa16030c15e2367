# ISDNet-R18 with its authors' softmax and cross-entropy over background and lesions, from scratch with this project's optimiser, on
# fold 0 of IDRiD.
#   python tools/train.py configs/isdnet/isdnet_r18-d8_softmax_512x512_2500_IDRiD_cv.py
# Data: IDRiD in $IDRID_ROOT. Hardware and metric: docs/sdcnet.md.
_base_ = [
    '../_base_/models/isdnet_r50-d8.py', '../_base_/datasets/IDRiD_cv_512x512.py', '../_base_/schedules/schedule_2500.py',
    '../default_runtime.py'
]
norm_cfg = dict(type='SyncBN', requires_grad=True)
loss = dict(type='CrossEntropyLoss', use_sigmoid=False, loss_name='loss_seg')
model = dict(
    backbone=dict(depth=18),
    decode_head=[
        dict(
            type='RefineASPPHead',
            in_channels=512,
            in_index=3,
            channels=128,
            dilations=(1, 12, 24, 36),
            num_classes=5,
            norm_cfg=norm_cfg,
            loss_decode=loss),
        dict(
            type='ISDHead',
            in_channels=3,
            prev_channels=128,
            down_ratio=4,
            channels=128,
            num_classes=5,
            norm_cfg=norm_cfg,
            loss_decode=loss)
    ],
    auxiliary_head=dict(in_channels=256))
data_preprocessor = dict(target='index')  # where lesions overlap, the small ones win
default_hooks = dict(checkpoint=dict(interval=250, max_keep_ckpts=2, save_best='lesion/mAP'), samples=dict(interval=500))
