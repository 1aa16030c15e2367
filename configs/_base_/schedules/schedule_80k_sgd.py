# ISDNet's own schedule: SGD, a polynomial that ends at 1e-4, no warm-up, float32.
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005))
param_scheduler = [dict(type='LegacyLR', policy='poly', power=0.9, min_lr=1e-4)]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=80000, val_interval=4000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
