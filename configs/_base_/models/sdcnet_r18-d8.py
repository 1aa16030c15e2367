# SDC-Net: a ResNet-18 on the reduced image and a ShallowNet on the image's detail, joined by DSWM at strides 16 and 8, one
# sigmoid channel a lesion. This project's own design under that name (docs/sdcnet.md).
# Backbone's depth, first head, losses and auxiliary head are the baseline's.
_base_ = ['./isdnet_r18-d8.py']
model = dict(
    type='SDCNet',
    down_mode='area',
    # A plain ResNet-18, so that every tensor of the named file but its classifier is used.
    backbone=dict(
        type='ResNet',
        init_cfg=dict(checkpoint='{{$SDCNET_HOME:.}}/model/resnet18_8xb32_in1k_20210831-fbbb1da6.pth')),
    decode_head=[
        {{_base_.aspp_head}},
        dict(
            type='DSWMHead',
            in_channels=3,
            prev_channels=128,
            fuse_channels=(128, 128),  # strides 16, 8
            aux_weight=0.4,
            num_classes=4,
            multi_label=True,
            norm_cfg={{_base_.norm_cfg}},
            loss_decode={{_base_.main_loss}})
    ])
