# 383 training, 149 validation and 225 test photographs of many sizes, worked on with a longer side of 1024 (as M2MRF does),
# crops of 512x512.
data_root = '{{$DDR_ROOT:data/DDR}}'
image_size = (1024, 1024)  # width, height of the box that photographs are scaled into
crop_size = (512, 512)  # height, width

data_preprocessor = dict(
    type='LesionDataPreprocessor',
    mean=[81.205, 50.636, 21.216],
    std=[76.252, 48.798, 21.625],
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
        dataset=dict(type='DDRDataset', data_root=data_root, split='train')))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='DDRDataset', data_root=data_root, split='valid', size=image_size, test_mode=True))
val_evaluator = dict(type='LesionMetric')
val_cfg = dict(type='ValLoop')
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='DDRDataset', data_root=data_root, split='test', size=image_size, test_mode=True))
test_evaluator = dict(type='LesionMetric')
