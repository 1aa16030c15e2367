"""Small things every floor may use. ``register_all_modules`` is importable from here, as in mmsegmentation."""

from mmseg.utils.errors import UserError, exit_on_user_error, nearest
from mmseg.utils.paths import home, home_path

__all__ = ["UserError", "exit_on_user_error", "home", "home_path", "nearest", "register_all_modules"]


def register_all_modules(init_default_scope: bool = True) -> None:
    """Register every class of this package; see :func:`mmseg.apis.register_all_modules`."""
    from mmseg.apis import register_all_modules as register

    register(init_default_scope)
