# SDC-Net: a ResNet-18 on the reduced image and a ShallowNet on the image's detail, joined by DSWM at strides 16 and 8, one
# sigmoid channel a lesion. This project's own design under that name (docs/sdcnet.md).
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
model = dict(
    type='SDCNet',
    down_mode='area',
    # A plain ResNet-18, so that every tensor of the named file but its classifier is used.
    backbone=dict(
        type='ResNet',
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
            type='DSWMHead',
            in_channels=3,
            prev_channels=128,
            fuse_channels=(128, 128),  # strides 16, 8
            aux_weight=0.4,
            num_classes=4,
            multi_label=True,
            norm_cfg=norm_cfg,
            loss_decode=main_loss)
    ],
    auxiliary_head=dict(in_channels=256, num_classes=4, multi_label=True, loss_decode=side_loss))
