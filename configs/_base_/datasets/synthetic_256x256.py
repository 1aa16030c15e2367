# The project's own synthetic photographs (tools/make_synthetic_dataset.py), 1440x960, crops of 256x256.
data_root = 'data/synthetic'
image_size = (1440, 960)  # width, height
crop_size = (256, 256)  # height, width

data_preprocessor = dict(
    type='LesionDataPreprocessor',
    mean=[116.513, 56.437, 16.309],
    std=[80.206, 41.232, 13.293],
    train_transforms=[
        dict(
            type='BatchRandomAffine',
            crop_size=crop_size,
            scale=(0.9, 1.1),
            rotation=(-180, 180),
            flip_prob=0.5,
            lesion_prob=0.8),
        dict(type='BatchPhotometricDistortion', brightness=0.1, contrast=0.1, saturation=0.1, hue=3.0, gamma=0.1, prob=0.5)
    ])
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ResidentDataset',
        size=image_size,
        cache='auto',
        dataset=dict(type='SyntheticFundusDataset', data_root=data_root, split='train')))
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='SyntheticFundusDataset', data_root=data_root, split='test', size=image_size, test_mode=True))
test_evaluator = dict(type='LesionMetric')
