# SDC-Net+ on the project's own synthetic photographs: what `make demo` runs.
#   python tools/train.py configs/sdcnet/sdcnetplus_r18-d8_256x256_demo_synthetic.py
# Data: tools/make_synthetic_dataset.py. Hardware: two CPU cores, about four minutes (six without AVX-512).
# Dice to expect (2026-11-25): MA 0.69, HE 0.65, EX 0.85, SE 0.73.
_base_ = [
    '../_base_/models/sdcnetplus_r18-d8.py', '../_base_/datasets/synthetic_256x256.py', '../_base_/schedules/schedule_demo.py', '../default_runtime.py'
]
default_hooks = dict(logger=dict(interval=10))
