# All of IDRiD's training images on a CPU: on fold 0, SDC-Net+'s mean AP no longer rose
# after 2,000 of schedule_2500's iterations.
_base_ = ['./schedule_2500.py']
train_cfg = dict(max_iters=2000)
