# Two to four hours on a laptop: the comparison of README.md.
_base_ = ['./schedule_2500.py']
train_cfg = dict(max_iters=5000)
