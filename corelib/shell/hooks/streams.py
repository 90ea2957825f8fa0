"""Standing between a program and its stdout or stderr, without standing in the way.

Law: the program's own write comes first, and what it returns or raises is what the program gets. The stream object
stays the same; only its `write` is ours for a while. Whoever wraps it after us is left alone: where ours is not the
outermost when we let go, it stays and does nothing any more, until another of ours that lets go last takes it out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ["StreamTap"]

_MARK: Final = "corelib_tap"


class StreamTap:
    """Tells what is written to a stream, after it was written.

    Args:
        stream: the stream.
        take: is told each text; it must not raise.
    """

    def __init__(self, stream: Any, take: Callable[[str], None]) -> None:
        """Wrap the stream.

        Raises:
            AttributeError, TypeError: this stream cannot be wrapped; nothing was changed.
        """
        self.is_live = True
        self._stream = stream
        self._own = vars(stream).get("write")  # None: it is the class's
        original = stream.write

        def write(*arguments: Any, **named: Any) -> Any:
            result = original(*arguments, **named)
            if self.is_live and arguments and isinstance(arguments[0], str):
                try:
                    take(arguments[0])
                except RecursionError:  # it is written, and there is no room on the stack to tell of it
                    pass
            return result

        setattr(write, _MARK, self)
        self._write = write
        stream.write = write

    def close(self) -> None:
        """Give the stream back, unless another one wrapped it since. Any number of times."""
        self.is_live = False
        try:
            if vars(self._stream).get("write") is not self._write:
                return
            own = self._own
            while (inner := getattr(own, _MARK, None)) is not None and not inner.is_live:
                own = inner._own  # noqa: SLF001  of the same class
            if own is None:
                del self._stream.write
            else:
                self._stream.write = own
        except (AttributeError, TypeError):
            return  # somebody's stream that has changed its mind; ours does nothing any more
