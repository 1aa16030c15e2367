# 54 training and 27 test photographs of 4288x2848, worked on at 1440x960 (as the field does), crops of 512x512.
data_root = '{{$IDRID_ROOT:data/IDRID}}'
image_size = (1440, 960)  # width, height of the box that photographs are scaled into
crop_size = (512, 512)  # height, width

data_preprocessor = dict(
    type='LesionDataPreprocessor',
    mean=[116.513, 56.437, 16.309],
    std=[80.206, 41.232, 13.293],
    train_transforms=[
        dict(
            type='BatchRandomAffine',
            crop_size=crop_size,
            scale=(0.5, 2.0),
            rotation=(-180, 180),
            flip_prob=0.5,
            lesion_prob=0.6),
        dict(type='BatchPhotometricDistortion')
    ])
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='ResidentDataset',
        size=image_size,
        cache='auto',
        dataset=dict(type='IDRiDDataset', data_root=data_root, split='train')))
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='IDRiDDataset', data_root=data_root, split='test', size=image_size, test_mode=True))
test_evaluator = dict(type='LesionMetric')
