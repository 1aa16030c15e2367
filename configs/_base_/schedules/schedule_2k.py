# All of IDRiD's training images on a CPU: on fold 0, SDC-Net+'s mean AP rose little
# after 2,000 of schedule_2500's iterations (docs/sdcnet.md).
_base_ = ['./schedule_2500.py']
train_cfg = dict(max_iters=2000)
