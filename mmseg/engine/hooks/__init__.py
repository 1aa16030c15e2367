"""What happens around the training loop."""

from mmseg.engine.hooks.batch_seed_hook import BatchSeedHook
from mmseg.engine.hooks.check_normalisation_hook import CheckNormalisationHook
from mmseg.engine.hooks.checkpoint_hook import CheckpointHook
from mmseg.engine.hooks.curves_hook import CurvesHook
from mmseg.engine.hooks.ema_hook import EMAHook
from mmseg.engine.hooks.iter_timer_hook import IterTimerHook
from mmseg.engine.hooks.non_finite_guard_hook import NonFiniteGuardHook
from mmseg.engine.hooks.overlay_hook import OverlayHook
from mmseg.engine.hooks.replace_run_hook import ReplaceRunHook
from mmseg.engine.hooks.report_hook import ReportHook
from mmseg.engine.hooks.resume_random_state_hook import ResumeRandomStateHook
from mmseg.engine.hooks.runtime_info_hook import RuntimeInfoHook
from mmseg.engine.hooks.sample_overlay_hook import SampleOverlayHook

__all__ = [
    "BatchSeedHook", "CheckNormalisationHook", "CheckpointHook", "CurvesHook", "EMAHook", "IterTimerHook", "NonFiniteGuardHook",
    "OverlayHook", "ReplaceRunHook", "ReportHook", "ResumeRandomStateHook", "RuntimeInfoHook", "SampleOverlayHook",
]
