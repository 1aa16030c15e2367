# SDC-Net+: SDC-Net with a DSWM stage, and the classifier, at stride 4. The list is restated because merging replaces it.
_base_ = ['./sdcnet_r18-d8.py']
model = dict(
    decode_head=[
        {{_base_.aspp_head}},
        dict(
            type='DSWMHead',
            in_channels=3,
            prev_channels=128,
            fuse_channels=(128, 128, 64),  # strides 16, 8, 4
            aux_weight=0.4,
            num_classes=4,
            multi_label=True,
            norm_cfg={{_base_.norm_cfg}},
            loss_decode={{_base_.main_loss}})
    ])
