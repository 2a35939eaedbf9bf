"""Another method for one object, whose class stays as it is."""

import types

__all__ = ["replace_method"]


def replace_method(holder, name, adapted):
    """Puts an adapted method on one object; bound, so that a deep copy of the object has its own.

    Args:
        holder: the object; changed once however often called.
        name: of the method.
        adapted: function of the class's own method that returns the one to take its place.

    Example:

    >>> class Greeting:
    ...     def say(self):
    ...         return "hello"
    >>> greeting = Greeting()
    >>> replace_method(greeting, "say", lambda stock: lambda self: stock(self).upper())
    >>> greeting.say(), Greeting().say()
    ('HELLO', 'hello')
    """
    if name not in vars(holder):
        vars(holder)[name] = types.MethodType(adapted(getattr(type(holder), name)), holder)
