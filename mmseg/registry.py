"""The registries, children of mmengine's, in scope ``mmseg``.

A class registered here is found by its bare name from every config whose ``default_scope`` is ``'mmseg'``; a name that is
not found here is looked for in mmengine.
"""

from typing import Any

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import EVALUATOR as MMENGINE_EVALUATOR
from mmengine.registry import FUNCTIONS as MMENGINE_FUNCTIONS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import INFERENCERS as MMENGINE_INFERENCERS
from mmengine.registry import LOG_PROCESSORS as MMENGINE_LOG_PROCESSORS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODEL_WRAPPERS as MMENGINE_MODEL_WRAPPERS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as MMENGINE_OPTIM_WRAPPERS
from mmengine.registry import OPTIMIZERS as MMENGINE_OPTIMIZERS
from mmengine.registry import PARAM_SCHEDULERS as MMENGINE_PARAM_SCHEDULERS
from mmengine.registry import RUNNER_CONSTRUCTORS as MMENGINE_RUNNER_CONSTRUCTORS
from mmengine.registry import RUNNERS as MMENGINE_RUNNERS
from mmengine.registry import TASK_UTILS as MMENGINE_TASK_UTILS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import VISBACKENDS as MMENGINE_VISBACKENDS
from mmengine.registry import VISUALIZERS as MMENGINE_VISUALIZERS
from mmengine.registry import WEIGHT_INITIALIZERS as MMENGINE_WEIGHT_INITIALIZERS
from mmengine.registry import Registry

__all__ = [
    "ALL_REGISTRIES", "DATASETS", "DATA_SAMPLERS", "EVALUATOR", "FUNCTIONS", "HOOKS", "INFERENCERS", "LOG_PROCESSORS", "LOOPS",
    "METRICS", "MODELS", "MODEL_WRAPPERS", "OPTIMIZERS", "OPTIM_WRAPPERS", "OPTIM_WRAPPER_CONSTRUCTORS", "PARAM_SCHEDULERS",
    "RUNNERS", "RUNNER_CONSTRUCTORS", "TASK_UTILS", "TRANSFORMS", "VISBACKENDS", "VISUALIZERS", "WEIGHT_INITIALIZERS",
    "find_class",
]


def _child(parent: Registry, name: str) -> Registry:
    return Registry(name, parent=parent, scope="mmseg")


RUNNERS = _child(MMENGINE_RUNNERS, "runner")
LOOPS = _child(MMENGINE_LOOPS, "loop")
HOOKS = _child(MMENGINE_HOOKS, "hook")
DATASETS = _child(MMENGINE_DATASETS, "dataset")
DATA_SAMPLERS = _child(MMENGINE_DATA_SAMPLERS, "data sampler")
TRANSFORMS = _child(MMENGINE_TRANSFORMS, "transform")
MODELS = _child(MMENGINE_MODELS, "model")
MODEL_WRAPPERS = _child(MMENGINE_MODEL_WRAPPERS, "model_wrapper")
WEIGHT_INITIALIZERS = _child(MMENGINE_WEIGHT_INITIALIZERS, "weight initializer")
OPTIMIZERS = _child(MMENGINE_OPTIMIZERS, "optimizer")
OPTIM_WRAPPERS = _child(MMENGINE_OPTIM_WRAPPERS, "optim_wrapper")
OPTIM_WRAPPER_CONSTRUCTORS = _child(MMENGINE_OPTIM_WRAPPER_CONSTRUCTORS, "optimizer wrapper constructor")
FUNCTIONS = _child(MMENGINE_FUNCTIONS, "function")
PARAM_SCHEDULERS = _child(MMENGINE_PARAM_SCHEDULERS, "parameter scheduler")
METRICS = _child(MMENGINE_METRICS, "metric")
EVALUATOR = _child(MMENGINE_EVALUATOR, "evaluator")
VISUALIZERS = _child(MMENGINE_VISUALIZERS, "visualizer")
VISBACKENDS = _child(MMENGINE_VISBACKENDS, "vis_backend")
LOG_PROCESSORS = _child(MMENGINE_LOG_PROCESSORS, "log_processor")
RUNNER_CONSTRUCTORS = _child(MMENGINE_RUNNER_CONSTRUCTORS, "runner constructor")
TASK_UTILS = _child(MMENGINE_TASK_UTILS, "task util")
INFERENCERS = _child(MMENGINE_INFERENCERS, "inferencer")

ALL_REGISTRIES = (
    RUNNERS, LOOPS, HOOKS, DATASETS, DATA_SAMPLERS, TRANSFORMS, MODELS, MODEL_WRAPPERS, WEIGHT_INITIALIZERS, OPTIMIZERS,
    OPTIM_WRAPPERS, OPTIM_WRAPPER_CONSTRUCTORS, PARAM_SCHEDULERS, METRICS, EVALUATOR, VISUALIZERS, VISBACKENDS,
    LOG_PROCESSORS, FUNCTIONS, RUNNER_CONSTRUCTORS, TASK_UTILS, INFERENCERS,
)


def find_class(registry: Registry, name: Any) -> Any:
    """What a configuration's ``type`` names; None where there is none.

    A bare name is looked up and no more, while ``Registry.get`` would import a module of that name, wherever it is from.
    """
    if not isinstance(name, str):
        return None
    try:
        if "." in name:
            return registry.get(name)
        while registry is not None:
            registry.import_from_location()
            if name in registry.module_dict:
                return registry.module_dict[name]
            registry = registry.parent  # type: ignore[assignment]
    except Exception:  # what a dotted name imports fails in any way
        pass
    return None
