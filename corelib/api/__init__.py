"""The face of the library: what users call. Wiring only, no rule of its own.

A package of its own because `corelib.init`, `corelib.run`, `corelib.config` and `corelib.summary` are names for
users, which modules of the same name would cover.
"""
