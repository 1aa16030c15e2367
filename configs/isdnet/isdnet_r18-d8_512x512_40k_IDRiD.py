# ISDNet-R18 on IDRiD, the baseline of SDC-Net: the same lesion channels, losses and schedule.
#   python tools/train.py configs/isdnet/isdnet_r18-d8_512x512_40k_IDRiD.py
# Data: IDRiD in $IDRID_ROOT. Hardware: not measured. Metric to expect: not measured.
_base_ = [
    '../_base_/models/isdnet_r50-d8.py', '../_base_/datasets/IDRiD_512x512.py', '../_base_/schedules/schedule_40k.py',
    '../default_runtime.py'
]
norm_cfg = dict(type='SyncBN', requires_grad=True)
main_loss = [
    dict(type='CrossEntropyLoss', use_sigmoid=True, loss_name='loss_bce'),
    dict(type='DiceLoss', use_sigmoid=True, loss_name='loss_dice')
]
side_loss = [
    dict(type='CrossEntropyLoss', use_sigmoid=True, loss_name='loss_bce', loss_weight=0.4),
    dict(type='DiceLoss', use_sigmoid=True, loss_name='loss_dice', loss_weight=0.4)
]
model = dict(
    backbone=dict(
        depth=18,
        init_cfg=dict(
            type='Pretrained', checkpoint='{{$SDCNET_HOME:.}}/model/resnet18_8xb32_in1k_20210831-fbbb1da6.pth')),
    decode_head=[
        dict(
            type='RefineASPPHead',
            in_channels=512,
            in_index=3,
            channels=128,
            dilations=(1, 12, 24, 36),
            num_classes=4,
            multi_label=True,
            norm_cfg=norm_cfg,
            loss_decode=side_loss),
        dict(
            type='ISDHead',
            in_channels=3,
            prev_channels=128,
            down_ratio=4,
            channels=128,
            num_classes=4,
            multi_label=True,
            aux_weight=0.4,
            norm_cfg=norm_cfg,
            loss_decode=main_loss)
    ],
    auxiliary_head=dict(in_channels=256, num_classes=4, multi_label=True, loss_decode=side_loss))
