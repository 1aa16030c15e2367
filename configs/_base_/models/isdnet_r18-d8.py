# ISDNet with a ResNet-18 and one sigmoid channel a lesion: the baseline of SDC-Net, with its losses. First weights, where they are
# there: OpenMMLab's of ResNet-V1c, whose stem this is.
_base_ = ['./isdnet_r50-d8.py']
norm_cfg = dict(type='SyncBN', requires_grad=True)
pixel_loss = dict(
    type='CrossEntropyLoss',
    use_sigmoid=True,
    avg_non_ignore=True,
    channel_weight=(60, 10, 12, 30),  # MA, HE, EX, SE: against the pixels they have (docs/sdcnet.md)
    loss_name='loss_bce')
main_loss = [
    pixel_loss,
    dict(type='LesionDiceLoss', use_sigmoid=True, loss_name='loss_dice')
]
side_loss = [
    dict(loss_weight=0.4, **pixel_loss),
    dict(type='LesionDiceLoss', use_sigmoid=True, loss_name='loss_dice', loss_weight=0.4)
]
aspp_head = dict(
    type='RefineASPPHead',
    in_channels=512,
    in_index=3,
    channels=128,
    dilations=(1, 12, 24, 36),
    num_classes=4,
    multi_label=True,
    norm_cfg=norm_cfg,
    loss_decode=side_loss)
model = dict(
    backbone=dict(
        depth=18,
        init_cfg=dict(
            type='Pretrained', checkpoint='{{$SDCNET_HOME:.}}/model/resnet18_v1c-b5776b93.pth')),
    decode_head=[
        aspp_head,
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
