"""What a key may do. A scope is an action, for everything or (``invoke:churn``) for one name.

``admin`` includes every action. ``deploy`` does not include ``invoke``, nor the other way about.
"""

from enum import StrEnum

from coldspark.errors import Forbidden
from coldspark.platform.ports import Key


class KeyAction(StrEnum):
    """What a caller wants to do."""

    INVOKE = "invoke"
    DEPLOY = "deploy"
    """Create, change, delete and look at endpoints and what they are made of."""
    ADMIN = "admin"
    """Handle keys, and everything else."""


def is_allowed(key: Key | None, action: KeyAction, name: str | None) -> bool:
    """Return whether the key has the scope; ``name`` None asks for all names. No key: allowed.

    None as key means that the authenticator lets everyone in (see ``Authenticator``).
    """
    if key is None or action in key.scopes:
        return True
    for scope in key.scopes:
        granted, colon, only = scope.partition(":")
        if granted in (action, KeyAction.ADMIN) and (not colon or only == name):
            return True
    return False


def authorize(key: Key | None, action: KeyAction, name: str | None = None) -> None:
    """Raise Forbidden unless the key has the scope."""
    if is_allowed(key, action, name):
        return
    assert key is not None
    what = f"{action} {name!r}" if name is not None else f"{action} everything"
    wanted = f"{action}:{name} or {action}" if name is not None else action
    raise Forbidden(
        f"Key {key.id} ({key.name}) may not {what}: it has the scopes "
        f"{', '.join(key.scopes) or 'none'} and needs {wanted}."
    )
