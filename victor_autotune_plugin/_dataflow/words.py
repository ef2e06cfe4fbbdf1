r"""The words of a text and its word 5-grams, as 64-bit hashes.

A text must be found again wherever it is passed on: in a prompt, in Markdown, in JSON, in `str` of a dictionary. So
words are what is left of it in all of them: runs of letters and digits, without case. Quotes, brackets, operators and
white space only part words, so code is read as its names and numbers, and `\n`, `\"`, `\u00e9` or `\xa0` of a quoted
text, however often it was quoted, are read as what they stand for. Scripts that put no spaces between words (Chinese,
Japanese, Thai …) are read character by character; there, ten characters weigh as much as five words.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Pause = Callable[[], None]

GRAM: Final = 5
"""Words in a row that are compared."""

_PIECE: Final = 8192
"""Characters that are read between two pauses, half as many where they take longer; about 0.15 ms."""

_PORTION: Final = 4096
"""Words that are put together between two pauses."""

_CUT_WITHIN: Final = 512
"""Characters at the end of a piece among which a space to cut at is looked for."""

_PLANES: Final = 0x20000
"""Characters below are looked up one by one; of those beyond, ideographs are words and all others are not."""

_IDEOGRAPHS: Final = (0x20000, 0x3FFFF)
_ALONE: Final = np.uint32(1 << 31)
"""Marks a character that is a word by itself."""

_UNKNOWN: Final = np.uint32(0xFFFFFFFF)
_GONE: Final = np.uint32(0xFFFFFFFE)

_UNSPACED: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x109F),  # Tibetan, Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # kana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # ideographs
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),  # narrow kana
)

_BLANK_ESCAPES: Final = np.frombuffer(b"nrtbf", dtype=np.uint8)
_CODE_ESCAPES: Final = ((ord("u"), 4), (ord("x"), 2), (ord("U"), 8))
_SLASH: Final = ord("\\")
_FACTOR: Final = 0x9E3779B97F4A7C15
_PLACES: Final = np.array(
    [0xD6E8FEB86659FD93, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3, 0x589965CC75374CC3],
    dtype=np.uint64,
)


@frozen(eq=False)
class Words:
    """The words of a text.

    Attributes:
        hashes: Hash of each word.
        alone: Whether each is a character of a script without spaces; None where no word is.
    """

    hashes: Hashes
    alone: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.hashes)


class WordReader:
    """Tells the words of texts.

    Args:
        pause: Called between pieces of work.
    """

    def __init__(self, pause: Pause) -> None:
        self._pause = pause
        self._letters = _ascii_letters()
        self._powers, self._inverses = _powers()

    def words(self, text: str) -> Words:
        """Return the words of a text."""
        parts = []
        for piece in _pieces(text):
            parts.append(self._words(self._codes(piece)))
            self._pause()
        if len(parts) == 1:
            return parts[0]
        hashes = np.concatenate([part.hashes for part in parts] or [np.empty(0, np.uint64)])
        if all(part.alone is None for part in parts):
            return Words(hashes)
        marks = [np.zeros(len(part), np.bool_) if part.alone is None else part.alone for part in parts]
        return Words(hashes, np.concatenate(marks))

    def grams(self, words: Words) -> Iterator[tuple[Hashes, NDArray[np.intp]]]:
        """Give the hashes of the 5-grams, portion by portion, each with the words at which they begin."""
        for first in range(0, len(words) - GRAM + 1, _PORTION):
            yield _grams(words, first, first + _PORTION)
            self._pause()

    def _codes(self, piece: str) -> NDArray[np.uint32]:
        """Return a piece's characters as lower-case code points, 0 for what parts words."""
        if piece.isascii():
            codes = np.frombuffer(piece.encode("latin-1"), np.uint8).astype(np.uint32)
        else:
            codes = np.frombuffer(piece.encode("utf-32-le", "surrogatepass"), np.uint32)
        if "\\" in piece:
            codes = self._unescaped(codes)
        if codes.size and codes.max() >= 128:
            return self._beyond_ascii(codes)
        letters: NDArray[np.uint32] = self._letters[codes]
        return letters

    def _beyond_ascii(self, codes: NDArray[np.uint32]) -> NDArray[np.uint32]:
        letters: NDArray[np.uint32]
        if len(self._letters) < _PLANES:
            ascii_only = self._letters
            self._letters = np.full(_PLANES, _UNKNOWN, dtype=np.uint32)
            self._letters[: len(ascii_only)] = ascii_only
        low = np.minimum(codes, _PLANES - 1)
        letters = self._letters[low]
        unknown = letters == _UNKNOWN
        if unknown.any():
            for count, code in enumerate(np.unique(low[unknown]).tolist()):
                self._letters[code] = _letter(code)
                if count % 128 == 127:
                    self._pause()
            letters = self._letters[low]
        beyond = codes >= _PLANES
        if beyond.any():
            far = codes[beyond]
            first, last = _IDEOGRAPHS
            letters[beyond] = np.where((far >= first) & (far <= last), far | _ALONE, 0)
        return letters

    def _unescaped(self, codes: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Return the code points with what follows backslashes read as what it stands for."""
        codes = codes.copy()
        slashes = codes == _SLASH
        after = np.flatnonzero(slashes[:-1]) + 1
        codes[after[np.isin(codes[after], _BLANK_ESCAPES)]] = ord(" ")
        for letter, width in _CODE_ESCAPES:
            at = after[codes[after] == letter]
            at = at[at + width < len(codes)]
            places = at[:, None] + np.arange(1, width + 1)
            digits = _hex_digits()[np.minimum(codes[places], 128)]
            fine = (digits < 16).all(axis=1)
            at, places, digits = at[fine], places[fine], digits[fine]
            if not at.size:
                continue
            value = (digits.astype(np.uint64) << np.arange(4 * width - 4, -1, -4, dtype=np.uint64)).sum(axis=1)
            codes[at] = np.minimum(value, 0x10FFFF)
            codes[places] = _GONE
            back = at - 1
            while back.size:  # quoted twice, there are two backslashes, and so on
                codes[back] = _GONE
                back = back[back > 0] - 1
                back = back[slashes[back]]
        codes = codes[codes != _GONE]
        halves = np.flatnonzero((codes[:-1] >> 10 == 0x36) & (codes[1:] >> 10 == 0x37))  # JSON writes 𝒜 as two of them
        if halves.size:
            codes[halves] = 0x10000 + ((codes[halves] & 0x3FF) << 10) + (codes[halves + 1] & 0x3FF)
            codes[halves + 1] = _GONE
            codes = codes[codes != _GONE]
        return codes

    def _words(self, codes: NDArray[np.uint32]) -> Words:
        is_word, alone = codes != 0, codes >= _ALONE
        joined = is_word[1:] & is_word[:-1]
        some_alone = bool(alone.any())
        if some_alone:
            joined &= ~(alone[1:] | alone[:-1])
        begins, ends = is_word.copy(), is_word
        begins[1:] &= ~joined
        ends[:-1] &= ~joined
        first, last = np.flatnonzero(begins), np.flatnonzero(ends)
        sums = np.zeros(len(codes) + 1, dtype=np.uint64)
        np.cumsum(codes * self._powers[: len(codes)], out=sums[1:])
        hashes = _mixed((sums[last + 1] - sums[first]) * self._inverses[first])
        return Words(hashes, alone[first] if some_alone else None)


def _grams(words: Words, first: int, end: int) -> tuple[Hashes, NDArray[np.intp]]:
    """Return the 5-grams that begin at the words from `first` to before `end`."""
    hashes = words.hashes[first : end + 2 * GRAM - 1]
    size = len(hashes) - GRAM + 1
    grams = hashes[:size] * _PLACES[0]
    for place in range(1, GRAM):
        grams += hashes[place : size + place] * _PLACES[place]
    grams = _mixed(grams)
    starts: NDArray[np.intp] = np.arange(min(size, end - first))
    if words.alone is not None:
        alone = words.alone[first : end + 2 * GRAM - 1]
        all_alone = alone[:size].copy()
        for place in range(1, GRAM):
            all_alone &= alone[place : size + place]
        later = starts[all_alone[: len(starts)]]
        has_next = later + GRAM < size
        twice = later[has_next]
        longer = _mixed(grams[twice] * _PLACES[1] + grams[twice + GRAM] * _PLACES[2])
        keep = np.ones(len(starts), np.bool_)
        keep[later[~has_next]] = False
        grams[twice] = longer
        starts = starts[keep]
    return grams[starts], starts + first


def _mixed(values: Hashes) -> Hashes:
    """Return the values with every bit spread over all of a hash."""
    values = (values ^ (values >> np.uint64(32))) * _PLACES[3]
    values = (values ^ (values >> np.uint64(29))) * _PLACES[4]
    return values ^ (values >> np.uint64(32))


def _pieces(text: str) -> Iterator[str]:
    """Give the pieces of a text, cut at white space where there is some."""
    size = _PIECE if text.isascii() and "\\u" not in text else _PIECE // 2
    first = 0
    while first < len(text):
        end = first + size
        if end < len(text):
            near = end - _CUT_WITHIN
            cut = max(text.rfind(" ", near, end), text.rfind("\n", near, end))
            end = end if cut < 0 else cut + 1
        yield text[first:end]
        first = end


@cache
def _ascii_letters() -> NDArray[np.uint32]:
    """Return what each character of ASCII is read as; worked out once, since it takes as long as a run's whole rest."""
    return np.array([_letter(code) for code in range(128)], dtype=np.uint32)


@cache
def _powers() -> tuple[Hashes, Hashes]:
    """Return the powers of the factor for each place in a piece, and what undoes them; the same for every text."""
    factors = np.full(_PIECE, _FACTOR, dtype=np.uint64)
    factors[0] = 1
    powers = np.cumprod(factors)
    factors[1:] = pow(_FACTOR, -1, 1 << 64)
    return powers, np.cumprod(factors)


@cache
def _hex_digits() -> NDArray[np.uint8]:
    """Return what each character of ASCII, and the one beyond that stands for all others, is worth; 16 for none."""
    digits = np.full(129, 16, dtype=np.uint8)
    for digit in "0123456789abcdefABCDEF":
        digits[ord(digit)] = int(digit, 16)
    return digits


def _letter(code: int) -> int:
    """Return a character as a lower-case code point, 0 where it parts words."""
    char = chr(code)
    category = unicodedata.category(char)
    is_letter = category[0] in "LN" or (category in ("Mn", "Mc") and not 0xFE00 <= code <= 0xFE0F)
    if not is_letter:
        return 0
    folded = char.casefold()
    code = ord(folded) if len(folded) == 1 else code
    return code | int(_ALONE) if any(first <= code <= last for first, last in _UNSPACED) else code
