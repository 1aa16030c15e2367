"""What mmengine's runner lacks, and the reading of configurations."""

from mmseg.engine.autocast import AutocastOptimWrapper
from mmseg.engine.config import check_config, load_config
from mmseg.engine.hooks import BatchSeedHook, CheckpointHook, CurvesHook, EMAHook
from mmseg.engine.loop import IterBasedTrainLoop
from mmseg.engine.runner import LesionRunner, load_weights

__all__ = [
    "AutocastOptimWrapper", "BatchSeedHook", "CheckpointHook", "CurvesHook", "EMAHook", "IterBasedTrainLoop",
    "LesionRunner", "check_config", "load_config", "load_weights",
]
