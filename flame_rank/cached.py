"""A property that is computed once, like functools.cached_property without its lock, which in Python 3.11 takes
longer than most of the properties here."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or sys.version_info >= (3, 12):
    from functools import cached_property as cached_property
else:

    class cached_property:
        """Keeps what a method returns in the object's __dict__, where it is found before this descriptor."""

        def __init__(self, method: Any):
            self._method, self.__doc__ = method, method.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self._name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            value = instance.__dict__[self._name] = self._method(instance)
            return value
