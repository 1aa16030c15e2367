# SDC-Net+ with an exponential moving average of its weights, on fold 0 of IDRiD; the plain weights are stored beside it.
#   python tools/train.py configs/sdcnet/sdcnetplus_r18-d8_ema_512x512_2500_IDRiD_cv.py
# Data: IDRiD in $IDRID_ROOT. Hardware and metric: docs/sdcnet.md.
_base_ = ['./sdcnetplus_r18-d8_512x512_2500_IDRiD_cv.py']
custom_hooks = [dict(type='EMAHook', momentum=2e-3)]
