"""Errors of models and engines, told apart by who can mend them."""

from datagen.errors import UserError


class ModelNotFoundError(UserError):
    """No model of that name or path; the message names it and says what to give instead."""


class RequestError(RuntimeError):
    """One request failed; it becomes a dead letter and the engine goes on."""


class EngineDeadError(UserError):
    """The engine is gone; its process must end so that another can start."""
