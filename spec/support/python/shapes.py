# SPDX-License-Identifier: MIT
"""Shapes that JSON must have: a value stands for itself, a dict for an object with these fields and no others,
a list for an array with these items, a Shape for what passes its test."""
import re

LATER_THAN_2020, BEFORE_2100 = 1577836800, 4102444800  # UNIX seconds


class Mismatch(Exception):
    """What came is not what was to come."""


class Shape:
    def __init__(self, name, test):
        self.name, self.test = name, test

    def check(self, value, path):
        if not self.test(value):
            raise Mismatch(f"{path}: expected {self.name}, got {value!r}")


class Optional:
    """A field that may be absent."""

    def __init__(self, shape):
        self.shape = shape


class NullOr:
    def __init__(self, shape):
        self.shape = shape

    def check(self, value, path):
        if value is not None:
            check(value, self.shape, path)


class ArrayOf:
    def __init__(self, shape):
        self.shape = shape

    def check(self, value, path):
        demand(isinstance(value, list), f"{path}: expected an array, got {value!r}")
        for index, item in enumerate(value):
            check(item, self.shape, f"{path}[{index}]")


def demand(condition, message):
    if not condition:
        raise Mismatch(message)


def is_number(value):
    return isinstance(value, int) and not isinstance(value, bool)


def matching(name, pattern):
    return Shape(name, lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None)


def same(value, expected):
    """Equal and of the same type: in Python 1 == True == 1.0."""
    return type(value) is type(expected) and value == expected


UUID_PATTERN = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TEXT = Shape("a text", lambda value: isinstance(value, str) and value != "")
INTEGER = Shape("an integer", is_number)
BOOLEAN = Shape("true or false", lambda value: isinstance(value, bool))
SECONDS = Shape("UNIX seconds", lambda value: is_number(value) and LATER_THAN_2020 < value < BEFORE_2100)
MILLISECONDS = Shape(
    "UNIX milliseconds", lambda value: is_number(value) and LATER_THAN_2020 < value / 1000 < BEFORE_2100)
UUID = matching("a UUID", UUID_PATTERN)
CHAT_ID = matching("a chat id", "[0-9a-f]{40}|" + UUID_PATTERN)


def check_object(value, shape, path):
    demand(isinstance(value, dict), f"{path}: expected an object, got {value!r}")
    for name, field in shape.items():
        optional = isinstance(field, Optional)
        if name in value:
            check(value[name], field.shape if optional else field, f"{path}.{name}")
        else:
            demand(optional, f"{path}: the field {name} is missing in {value!r}")
    for name in value:
        demand(name in shape, f"{path}: unexpected field {name} = {value[name]!r}")


def check(value, shape, path):
    """Raise Mismatch, naming the place, unless the value has this shape."""
    if isinstance(shape, dict):
        check_object(value, shape, path)
    elif isinstance(shape, list):
        demand(isinstance(value, list) and len(value) == len(shape),
               f"{path}: expected an array of {len(shape)}, got {value!r}")
        for index, item in enumerate(shape):
            check(value[index], item, f"{path}[{index}]")
    elif hasattr(shape, "check"):
        shape.check(value, path)
    else:
        demand(same(value, shape), f"{path}: expected {shape!r}, got {value!r}")
