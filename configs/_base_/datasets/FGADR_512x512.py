# 1842 photographs of 1280x1280, worked on at that size, crops of 512x512. FGADR has no official split: 1096, 193 and 553 images
# are drawn from their names by split_seed, or read from split_dir=<folder with train.txt, valid.txt, test.txt>.
data_root = '{{$FGADR_ROOT:data/FGADR}}'
image_size = (1280, 1280)  # width, height of the box that photographs are scaled into
crop_size = (512, 512)  # height, width

data_preprocessor = dict(
    type='LesionDataPreprocessor',
    # IDRiD's values, FGADR's own were not at hand: python tools/dataset_statistics.py <the config that inherits this file>
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
        dataset=dict(type='FGADRDataset', data_root=data_root, split='train')))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='FGADRDataset', data_root=data_root, split='valid', size=image_size, test_mode=True))
val_evaluator = dict(type='LesionMetric')
val_cfg = dict(type='ValLoop')
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='FGADRDataset', data_root=data_root, split='test', size=image_size, test_mode=True))
test_evaluator = dict(type='LesionMetric')
