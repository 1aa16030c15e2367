"""What happens around the training loop."""

from mmseg.engine.hooks.batch_seed_hook import BatchSeedHook
from mmseg.engine.hooks.checkpoint_hook import CheckpointHook
from mmseg.engine.hooks.curves_hook import CurvesHook
from mmseg.engine.hooks.overlay_hook import OverlayHook
from mmseg.engine.hooks.report_hook import ReportHook
from mmseg.engine.hooks.resume_random_state_hook import ResumeRandomStateHook
from mmseg.engine.hooks.sample_overlay_hook import SampleOverlayHook

__all__ = [
    "BatchSeedHook", "CheckpointHook", "CurvesHook", "OverlayHook", "ReportHook", "ResumeRandomStateHook", "SampleOverlayHook",
]
