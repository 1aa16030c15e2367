# ISDNet-R18 on DeepGlobe with its authors' values, so that their checkpoints load as they are (docs/compatibility.md).
#   python tools/train.py configs/isdnet/isdnet_r18-d8_1224x1224_80k_DeepGlobe.py
# Data: DeepGlobe land cover in data/DeepGlobe (img_dir/, rgb2id/). Hardware: not measured. Metric to expect: 73.30 mIoU was
# published; not measured here.
_base_ = [
    '../_base_/models/isdnet_r50-d8.py', '../_base_/datasets/DeepGlobe_1224x1224.py', '../_base_/schedules/schedule_80k_sgd.py',
    '../default_runtime.py'
]
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    size_divisor=1,
    backbone=dict(
        depth=18,
        init_cfg=dict(type='Pretrained', checkpoint='{{$SDCNET_HOME:.}}/model/resnet18_v1c-b5776b93.pth')),
    decode_head=[
        dict(
            type='RefineASPPHead',
            in_channels=512,
            in_index=3,
            channels=128,
            dilations=(1, 12, 24, 36),
            dropout_ratio=0.1,
            num_classes=7,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_name='loss_seg')),
        dict(
            type='ISDHead',
            in_channels=3,
            prev_channels=128,
            down_ratio=4,
            channels=128,
            shallow_init_cfg=dict(type='Pretrained', checkpoint='{{$SDCNET_HOME:.}}/model/STDCNet813M_73.91.tar'),
            dropout_ratio=0.1,
            num_classes=7,
            norm_cfg=norm_cfg,
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_name='loss_seg'))
    ],
    auxiliary_head=dict(in_channels=256, channels=64, num_classes=7),
    test_cfg=dict(thresholds=None))  # every channel is a class, each pixel of the likeliest
default_hooks = dict(checkpoint=dict(interval=4000))
