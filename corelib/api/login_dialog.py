"""The words between `login()` and a person: a menu, an address to find a key at, a key that is not shown.

Law: what can be chosen is given; nothing is decided here. What cannot be an answer is said to be none and asked again,
as long as the person and the time allow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from corelib.errors import AuthenticationError
from corelib.pure.credentials import check_key_format

if TYPE_CHECKING:
    from corelib.pure.credentials import Decision
    from corelib.shell.prompt import Person

__all__ = ["ACCOUNT_PAGES", "choose", "typed_key"]

ACCOUNT_PAGES: Final = {"create": "authorize?signup=true", "existing": "authorize"}
"""For the choices that lead to a key: the page of the server's application that shows it."""

_CHOICES: Final = {
    "anonymous": "Private dashboard, no account required",
    "create": "Create an account",
    "existing": "Use an existing account",
    "offline": "Don't visualize my results",
}


def choose(person: Person, decision: Decision, host: str) -> str | None:
    """Return which of the decision's choices a person makes; None: nobody answered. A single one needs no question.

    Args:
        person: who is asked.
        decision: why there is a question, and what can be chosen.
        host: the server it is about.
    """
    choices = decision.choices
    if len(choices) == 1:
        return choices[0]
    person.tell(f"{decision.reason} For {host} you can choose:")
    numbers = {str(number): choice for number, choice in enumerate(choices, 1)}
    for number, choice in numbers.items():
        person.tell(f"  ({number}) {_CHOICES[choice]}")
    while (answer := person.ask("Your choice: ")) is not None:
        if answer in numbers:
            return numbers[answer]
        person.tell(f"Type a number from 1 to {len(numbers)}.")
    return None


def typed_key(person: Person, page: str) -> str | None:
    """Return a key that a person typed or pasted and that can be one; None: nobody answered.

    Args:
        person: who is asked.
        page: the address at which a person finds the key.
    """
    person.tell(f"Your API key is shown in your browser at {page}")
    while (key := person.ask("Paste it here and press Enter (it stays hidden): ", hidden=True)) is not None:
        try:
            check_key_format(key)
        except AuthenticationError as error:
            person.tell(str(error))
        else:
            return key
    return None
