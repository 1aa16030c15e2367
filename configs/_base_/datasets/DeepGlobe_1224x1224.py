# DeepGlobe land cover: images of 2448x2448 with index maps of seven classes, in the folders of ISDNet's authors; crops of
# 1224x1224. The augmentation is theirs.
data_root = 'data/DeepGlobe'
image_size = (2448, 2448)  # width, height
crop_size = (1224, 1224)  # height, width

data_preprocessor = dict(
    type='LesionDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    target='index',
    train_transforms=[
        dict(
            type='BatchLegacyAffine',
            crop_size=crop_size,
            scale=(1.0, 1.0),
            cat_max_ratio=0.75,
            flip_prob=0.5,
            rotation=(90, 270),
            rotation_prob=0.5),
        dict(type='BatchLegacyDistortion')
    ])
train_dataloader = dict(
    batch_size=2,
    num_workers=8,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='DeepGlobeDataset',
        data_root=data_root,
        data_prefix=dict(img_path='img_dir/train', seg_map_path='rgb2id/train'),
        size=image_size))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='DeepGlobeDataset',
        data_root=data_root,
        data_prefix=dict(img_path='img_dir/val', seg_map_path='rgb2id/val'),
        size=image_size,
        test_mode=True))
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='DeepGlobeDataset',
        data_root=data_root,
        data_prefix=dict(img_path='img_dir/test', seg_map_path='rgb2id/test'),
        size=image_size,
        test_mode=True))
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
