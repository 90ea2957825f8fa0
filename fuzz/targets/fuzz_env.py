# Invariant: any environment gives valid settings whose origins are its variables, or one UsageError; no key is shown.
"""Fuzz the environment as a source of settings; run `python fuzz/targets/fuzz_env.py fuzz/corpus/env`."""

from __future__ import annotations

from corelib.errors import UsageError
from corelib.pure.resolve import resolve
from corelib.pure.settings import FIELDS, Settings
from corelib.pure.sources import Identity, environment_layer, settings_layer

_IDENTITY = Identity()
_LONGEST_WORD = 8  # a key of fewer characters may be part of any text by chance


def fuzz_one(data: bytes) -> None:
    """Read the bytes as `NAME=value` parted by NUL, as the system hands an environment over, and resolve it."""
    pairs = (entry.partition("=") for entry in data.decode("utf-8", "surrogateescape").split("\0"))
    environ = {name: value for name, equals, value in pairs if equals}
    layer, problems = environment_layer(environ, _IDENTITY)
    assert layer.origin.keys() == layer.values.keys()
    assert all(environ[variable] for variable in layer.origin.values())
    told = [repr(layer), *(problem.text for problem in problems)]
    try:
        resolution = resolve([layer], problems)
    except UsageError as error:
        told.append(str(error))
    else:
        assert not any(problem.fatal for problem in problems)
        told += [repr(resolution), resolution.explain()]
        for name, source in resolution.provenance.items():
            assert source.source == ("environment" if source.origin != "default" else "default")
            assert (
                source.source == "environment" or getattr(resolution.settings, name) == FIELDS[name].default
            )
        assert (
            resolve([settings_layer("setup", resolution.settings, "again")]).settings == resolution.settings
        )
        said = {name: getattr(resolution.settings, name) for name in resolution.settings.given}
        assert Settings(**said) == resolution.settings
    _assert_hidden(layer.values.get("api_key"), environ, told)


def _assert_hidden(key: str | None, environ: dict[str, str], told: list[str]) -> None:
    if key is None or len(key) <= _LONGEST_WORD:
        return
    if any(key in value for variable, value in environ.items() if variable != "WANDB_API_KEY"):
        return  # whoever writes the key into another variable as well has published it there
    assert not any(key in text for text in told)


if __name__ == "__main__":
    from fuzz.runner import run

    run(fuzz_one)
