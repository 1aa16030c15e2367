"""What a Python user calls."""

from mmseg.apis.inferencer import LesionInferencer, Segmentation, inference_model
from mmseg.apis.init import init_model, register_all_modules
from mmseg.apis.predictions import score_predictions
from mmseg.apis.regions import Region, find_regions
from mmseg.apis.results import write_results
from mmseg.apis.runs import build_runner, build_tester
from mmseg.apis.show import show_result_pyplot

__all__ = [
    "LesionInferencer", "Region", "Segmentation", "build_runner", "build_tester", "find_regions", "inference_model", "init_model",
    "register_all_modules", "score_predictions", "show_result_pyplot", "write_results",
]
