# A schedule that a laptop finishes: the ablation of docs/sdcnet.md, and choices on IDRiD_cv.
_base_ = ['./schedule_40k.py']
optim_wrapper = dict(optimizer=dict(lr=3e-3))  # for a short run better than 1e-3 (docs/sdcnet.md)
train_cfg = dict(max_iters=2500)
