"""The registries, children of mmengine's, in scope ``mmseg``.

A class registered here is found by its bare name from every config whose ``default_scope`` is ``'mmseg'``; a name that is
not found here is looked for in mmengine.
"""

from typing import Any, TypeVar

from mmengine import registry as parents
from mmengine.registry import Registry

__all__ = [
    "ALL_REGISTRIES", "DATASETS", "DATA_SAMPLERS", "EVALUATOR", "FUNCTIONS", "HOOKS", "INFERENCERS", "LOG_PROCESSORS", "LOOPS",
    "METRICS", "MODELS", "MODEL_WRAPPERS", "OPTIMIZERS", "OPTIM_WRAPPERS", "OPTIM_WRAPPER_CONSTRUCTORS", "PARAM_SCHEDULERS",
    "RUNNERS", "RUNNER_CONSTRUCTORS", "TASK_UTILS", "TRANSFORMS", "VISBACKENDS", "VISUALIZERS", "WEIGHT_INITIALIZERS",
    "find_class", "find_subclass",
]


T = TypeVar("T")


def _child(parent: Registry) -> Registry:
    return Registry(parent.name, parent=parent, scope="mmseg")


RUNNERS = _child(parents.RUNNERS)
LOOPS = _child(parents.LOOPS)
HOOKS = _child(parents.HOOKS)
DATASETS = _child(parents.DATASETS)
DATA_SAMPLERS = _child(parents.DATA_SAMPLERS)
TRANSFORMS = _child(parents.TRANSFORMS)
MODELS = _child(parents.MODELS)
MODEL_WRAPPERS = _child(parents.MODEL_WRAPPERS)
WEIGHT_INITIALIZERS = _child(parents.WEIGHT_INITIALIZERS)
OPTIMIZERS = _child(parents.OPTIMIZERS)
OPTIM_WRAPPERS = _child(parents.OPTIM_WRAPPERS)
OPTIM_WRAPPER_CONSTRUCTORS = _child(parents.OPTIM_WRAPPER_CONSTRUCTORS)
FUNCTIONS = _child(parents.FUNCTIONS)
PARAM_SCHEDULERS = _child(parents.PARAM_SCHEDULERS)
METRICS = _child(parents.METRICS)
EVALUATOR = _child(parents.EVALUATOR)
VISUALIZERS = _child(parents.VISUALIZERS)
VISBACKENDS = _child(parents.VISBACKENDS)
LOG_PROCESSORS = _child(parents.LOG_PROCESSORS)
RUNNER_CONSTRUCTORS = _child(parents.RUNNER_CONSTRUCTORS)
TASK_UTILS = _child(parents.TASK_UTILS)
INFERENCERS = _child(parents.INFERENCERS)

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


def find_subclass(registry: Registry, name: Any, base: type[T]) -> type[T] | None:
    """What :func:`find_class` finds, where that is ``base`` or a subclass of it; None elsewhere."""
    found = find_class(registry, name)
    return found if isinstance(found, type) and issubclass(found, base) else None
