# Four fifths of IDRiD's 54 training images to train on, one fifth to choose by: nothing is chosen on the test images.
_base_ = ['./IDRiD_512x512.py']
train_dataloader = dict(dataset=dict(dataset=dict(fold=0)))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='IDRiDDataset',
        data_root={{_base_.data_root}},
        split='train',
        fold=0,
        held_out=True,
        size={{_base_.image_size}},
        test_mode=True))
val_evaluator = dict(type='LesionMetric')
val_cfg = dict(type='ValLoop')
test_dataloader = val_dataloader
test_evaluator = val_evaluator
