"""Every exception this library raises on purpose.

    Error
    ├── UsageError (also ValueError)      the call or a setting is wrong: change the call
    │   └── UsageTypeError (also TypeError)   a value of the wrong type
    │       └── ReadOnlyError (also AttributeError)   an attribute cannot be assigned: make a changed copy
    ├── ConfigError                       a config value or config file is wrong or may not change
    ├── CommError                         a server did not answer, or answered with a refusal
    │   └── AuthenticationError           the key is malformed or was rejected
    ├── JournalError                      a journal cannot be read or written
    └── MissingDependency (also ImportError)  an optional package is needed: the text says what to install

Leaves are named for what the reader can do about them. No message ever holds a secret.
"""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "CommError",
    "ConfigError",
    "Error",
    "JournalError",
    "MissingDependency",
    "ReadOnlyError",
    "UsageError",
    "UsageTypeError",
]


class Error(Exception):
    """The root of all errors of this library."""


class UsageError(Error, ValueError):
    """A call, an argument or a setting is wrong; nothing was changed by it."""


class UsageTypeError(UsageError, TypeError):
    """A value has the wrong type; a ValueError as well, for callers of older trackers."""


class ReadOnlyError(UsageTypeError, AttributeError):
    """An attribute cannot be assigned or deleted; the object is unchanged."""


class ConfigError(Error):
    """A config value may not change, or a config file cannot be used."""


class CommError(Error):
    """A server could not be reached within the time allowed, or it refused."""


class AuthenticationError(CommError):
    """The API key is malformed, or the server rejected it."""


class JournalError(Error):
    """A run directory or a journal cannot be read or written."""


class MissingDependency(Error, ImportError):
    """An optional package is not installed; the message names the extra to install."""
