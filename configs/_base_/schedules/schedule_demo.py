optim_wrapper = dict(
    type='AutocastOptimWrapper',
    dtype='auto',  # bfloat16 where the processor has it
    optimizer=dict(type='AdamW', lr=5e-3, weight_decay=0.01),
    clip_grad=dict(max_norm=5))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.02, by_epoch=False, begin=0, end=10),
    dict(type='PolyLR', power=0.9, eta_min=0.0, by_epoch=False, begin=10)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=200)
test_cfg = dict(type='TestLoop')
