# A schedule that a laptop finishes: the ablation of docs/sdcnet.md, and choices on IDRiD_cv.
_base_ = ['./schedule_40k.py']
train_cfg = dict(max_iters=2500)
