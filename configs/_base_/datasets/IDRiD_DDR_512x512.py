# A mixture: IDRiD's 54 training images count seven times, so that they are as many as DDR's 383. Each set has a working size of
# its own; IDRiD's normalisation is used for both. Validated on DDR's validation images, tested on IDRiD's test images.
_base_ = ['./IDRiD_512x512.py']
ddr_root = '{{$DDR_ROOT:data/DDR}}'
ddr_size = (1024, 1024)  # width, height
idrid_train = {{_base_.train_dataloader.dataset}}
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        times=(7, 1),
        datasets=[
            idrid_train,
            dict(
                type='ResidentDataset',
                size=ddr_size,
                cache='auto',
                dataset=dict(type='DDRDataset', data_root=ddr_root, split='train'))
        ]))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='DDRDataset', data_root=ddr_root, split='valid', size=ddr_size, test_mode=True))
val_evaluator = dict(type='LesionMetric')
val_cfg = dict(type='ValLoop')
