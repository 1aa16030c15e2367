# A schedule for a machine without a GPU; no run of it has been measured yet.
_base_ = ['./schedule_2500.py']
train_cfg = dict(max_iters=5000)
