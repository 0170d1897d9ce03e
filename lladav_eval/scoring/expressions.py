"""Formulas, in LaTeX or plain, as expressions of SymPy: numbers, + - * / ^, brackets, LaTeX's frac and sqrt, pi,
degrees, the common functions, single-letter variables.

Nothing is ever evaluated as code, and nothing that would take long is tried.
"""

from __future__ import annotations

import re
from typing import Any

MAX_GROWTH = 256
"""Limit on the product of all exponents of an expression; ``exp`` and a variable exponent count as 64 and 16."""

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*|\.\d+)|(?P<command>\\[a-zA-Z]+|sqrt|sin|cos|tan|log|ln|exp|pi)"
    r"|(?P<letter>[a-zA-Zα-ωΑ-Ω√])|(?P<sign>\*\*|[-+*/^(){}\[\]×·÷!|_°]))"
)
_FUNCTIONS = {"sin": "sin", "cos": "cos", "tan": "tan", "log": "log", "ln": "log", "exp": "exp", "sqrt": "sqrt"}
_UNKNOWN_FUNCTIONS = frozenset("fg")
"""Before a bracket they are no factors: f(0) isn't 0."""
_FRACTIONS = frozenset(("\\frac", "\\dfrac", "\\tfrac"))
_PRODUCT = frozenset(("*", "×", "·", "\\times", "\\cdot"))
_QUOTIENT = frozenset(("/", "÷", "\\div"))


class Unreadable(Exception):
    """The text is no expression of the kinds known here."""


def read_expression(text: str) -> Any:
    """A SymPy expression. Raises Unreadable."""
    tokens, place = [], 0
    text = text.strip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise Unreadable
        tokens.append(match.group().strip())
        place = match.end()
    reader = _Reader(tokens)
    value = reader.sum()
    if reader.left():
        raise Unreadable
    return value


class _Reader:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, tokens: list[str]) -> None:
        import sympy  # slow to import

        self._sympy = sympy
        self._tokens = tokens
        self._place = 0
        self._depth = 0
        self._growth = 1.0

    def _grow(self, factor: float) -> None:
        """Keeps numbers small enough to be computed: 9^9^9^9 is refused, not tried."""
        self._growth *= max(1.0, factor)
        if not self._growth <= MAX_GROWTH:
            raise Unreadable

    def left(self) -> bool:
        """Whether tokens remain."""
        return self._place < len(self._tokens)

    def _peek(self) -> str:
        return self._tokens[self._place] if self.left() else ""

    @property
    def _before(self) -> str:
        return self._tokens[self._place - 1] if self._place else ""

    def _take(self, expected: str = "") -> str:
        token = self._peek()
        if not token or (expected and token != expected):
            raise Unreadable
        self._place += 1
        return token

    def sum(self) -> Any:
        self._depth += 1
        if self._depth > 30:
            raise Unreadable
        negative = False
        while self._peek() in ("+", "-"):
            negative ^= self._take() == "-"
        value = self._product()
        value = -value if negative else value
        while self._peek() in ("+", "-"):
            sign = self._take()
            term = self._product()
            value = value + term if sign == "+" else value - term
        self._depth -= 1
        return value

    def _product(self) -> Any:
        start = self._place
        value = self._power()
        while self.left() and self._peek() not in ("+", "-", ")", "}", "]"):
            whole = self._place == start + 1 and self._before.isdigit()
            start = self._place
            if self._peek() in _QUOTIENT:
                self._take()
                value = value / self._signed()
            elif self._peek() in _PRODUCT:
                self._take()
                value = value * self._signed()
            elif whole and (self._peek()[0].isdigit() or self._peek() in _FRACTIONS):
                value = self._side_by_side(value)
            elif self._before[-1].isdigit() and self._peek()[0].isdigit():
                raise Unreadable
            else:
                value = value * self._power()
        return value

    def _side_by_side(self, value: Any) -> Any:
        """A number behind a whole one: ``2 1/2`` is 2.5; else only a fraction with letters or roots is a factor."""
        alone = value == self._sympy.Integer(self._before)
        latex = self._peek() in _FRACTIONS
        fraction = self._power()
        if not latex and self._peek() == "/":
            self._take()
            fraction = fraction / self._power()
        if latex and not fraction.is_Rational:
            return value * fraction
        if not alone or not fraction.is_Rational or not 0 < fraction < 1:
            raise Unreadable
        return value + fraction

    def _signed(self) -> Any:
        if self._peek() == "-":
            self._take()
            return -self._power()
        return self._power()

    def _power(self) -> Any:
        base = self._atom()
        while self._peek() in ("^", "**", "°"):
            if self._take() == "°":
                continue
            exponent = self._exponent()
            self._grow(float(abs(exponent.evalf(10))) if exponent.is_number else 16)
            base = base**exponent
        return base

    def _exponent(self) -> Any:
        if self._peek() == "-":
            self._take()
            return -self._atom()
        return self._atom()

    def _atom(self) -> Any:
        token = self._take()
        if token[0].isdigit() or token[0] == ".":
            return self._sympy.Rational(token)
        if token in ("(", "[", "{"):
            value = self.sum()
            self._take({"(": ")", "[": "]", "{": "}"}[token])
            return value
        if token in _FRACTIONS:
            return self._argument() / self._argument()
        if token in ("√", "sqrt", "\\sqrt"):
            root = self._sympy.Integer(2)
            if token == "\\sqrt" and self._peek() == "[":
                root = self._atom()
                # The root by a small fraction would be a huge power.
                if not root.is_Integer or not 1 <= root <= MAX_GROWTH:
                    raise Unreadable
            return self._argument() ** (1 / root)
        if token in ("pi", "\\pi", "π"):
            return self._sympy.pi
        name = token.removeprefix("\\")
        if name in _FUNCTIONS:
            self._grow(64 if name == "exp" else 1)
            return getattr(self._sympy, _FUNCTIONS[name])(self._argument())
        if name in _UNKNOWN_FUNCTIONS and self._peek() == "(":
            return self._sympy.Function(name)(self._argument())
        if len(name) == 1 and name.isalpha():
            return self._sympy.Symbol(name)
        raise Unreadable

    def _argument(self) -> Any:
        """{...}, (...), or the next number or letter."""
        return self._atom()
