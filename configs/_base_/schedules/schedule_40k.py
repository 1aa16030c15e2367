# AdamW, since most runs start from scratch.
optim_wrapper = dict(
    type='AutocastOptimWrapper',
    dtype='auto',  # bfloat16 where the device computes in it itself; losses and weights stay float32
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.01, fused=True),
    clip_grad=dict(max_norm=5))
# Without an end the schedule follows train_cfg.max_iters.
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=50),
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=50)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=40000)
test_cfg = dict(type='TestLoop')
