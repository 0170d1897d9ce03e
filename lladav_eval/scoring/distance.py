"""Edit distance of two texts."""

from __future__ import annotations


def levenshtein(first: str, second: str) -> int:
    """The fewest insertions, deletions and replacements of characters that turn one text into the other.

    Myers 1999 (bit-parallel): a column of the usual table is two integers of as many bits as the shorter text is long.

    >>> levenshtein("kitten", "sitting")
    3
    """
    if len(first) < len(second):
        first, second = second, first
    if not second:
        return len(first)
    places: dict[str, int] = {}
    for index, character in enumerate(second):
        places[character] = places.get(character, 0) | 1 << index
    full = (1 << len(second)) - 1
    last = 1 << (len(second) - 1)
    up, down, distance = full, 0, len(second)
    for character in first:
        equal = places.get(character, 0)
        vertical = equal | down
        diagonal = (((equal & up) + up) ^ up) | equal
        rise, fall = down | ~(diagonal | up), up & diagonal
        distance += bool(rise & last) - bool(fall & last)
        rise, fall = (rise << 1) | 1, fall << 1
        up, down = (fall | ~(vertical | rise)) & full, rise & vertical & full
    return distance
