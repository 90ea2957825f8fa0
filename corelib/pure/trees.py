"""What may be done with a JSON tree: compare it, copy it, hand it out for reading only, show it in a message.

Law: no function here changes a tree. A read-only tree equals the tree it was made from and passes for dict and list
wherever these are read; writing into it raises instead of getting lost, and copying or pickling it gives plain
dict and list again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn

from corelib.errors import UsageTypeError

__all__ = [
    "ReadOnlyDict",
    "ReadOnlyList",
    "copy_tree",
    "equal_trees",
    "read_only",
    "shorten",
    "type_phrase",
    "without_nan",
]

MOST_BITS_SHOWN: Final = 1024  # Python refuses to write integers of some 14,000 bits


def equal_trees(left: Any, right: Any, *, exact: bool = False) -> bool:
    """Say whether two trees are equal, NaN being equal to NaN; `exact` also tells 1, 1.0 and True apart."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            equal_trees(item, right[key], exact=exact) for key, item in left.items()
        )
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            equal_trees(one, other, exact=exact) for one, other in zip(left, right, strict=True)
        )
    if exact and type(left) is not type(right):
        return False
    return bool(left == right) or (left != left and right != right)  # noqa: PLR0124  NaN


def copy_tree(tree: Any) -> Any:
    """Return a copy of plain dict and list that shares nothing mutable with `tree`."""
    if isinstance(tree, dict):
        return {key: copy_tree(item) for key, item in tree.items()}
    if isinstance(tree, list):
        return [copy_tree(item) for item in tree]
    return tree


def without_nan(tree: Any, *, in_lists: bool = True) -> Any:
    """Return a tree with None for every NaN; those in lists can be left."""
    if isinstance(tree, dict):
        return {key: without_nan(item, in_lists=in_lists) for key, item in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [without_nan(item) for item in tree] if in_lists else tree
    return None if isinstance(tree, float) and tree != tree else tree  # noqa: PLR0124  NaN


def read_only(tree: Any) -> Any:
    """Return a copy of a tree whose dictionaries and lists refuse to be changed."""
    if isinstance(tree, dict):
        return ReadOnlyDict({key: read_only(item) for key, item in tree.items()})
    if isinstance(tree, list):
        return ReadOnlyList(map(read_only, tree))
    return tree


def _refuse(*_: object, **__: object) -> NoReturn:
    raise UsageTypeError(
        "This is a read-only view of a recorded value: a change inside of it would not be recorded. Change a copy "
        "(copy.deepcopy) and assign the whole value."
    )


class _PlainWhenCopied:
    """Copies and pickles of a read-only container are plain and may be changed."""

    __slots__ = ()

    def __copy__(self) -> Any:
        return copy_tree(self)

    def __deepcopy__(self, _: object) -> Any:
        return copy_tree(self)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any]]:
        kind = dict if isinstance(self, dict) else list
        return kind, (copy_tree(self),)


class ReadOnlyDict(_PlainWhenCopied, dict[str, Any]):
    """A dict to be read only."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


class ReadOnlyList(_PlainWhenCopied, list[Any]):
    """A list to be read only."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse


def shorten(value: Any, most: int = 60) -> str:
    """Return a value as text of at most `most` characters, for messages."""
    if isinstance(value, int) and value.bit_length() > MOST_BITS_SHOWN:
        return f"an integer of {value.bit_length()} bits"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001  a message about a broken object must not break as well
        return type_phrase(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def type_phrase(value: object) -> str:
    """Name the type of a value with its article, for messages: "an int", "a numpy.ndarray"."""
    if value is None:
        return "None"
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
