"""What the names of folders, sets and labels say: which class, and which split."""

from __future__ import annotations

import re
from collections.abc import Mapping

REAL, FAKE = "real", "fake"
CLASSES = (FAKE, REAL)
# How the name of a set begins that belongs to a split.
SPLITS = {"train": "train", "val": "valid", "test": "test"}
SPLIT_WORDS: Mapping[str, str] = {
    "train": "train", "training": "train",
    "val": "valid", "valid": "valid", "validation": "valid", "dev": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
CLASS_WORDS: Mapping[str, str] = {
    **dict.fromkeys(
        ("real", "reals", "authentic", "genuine", "original", "originals", "pristine"), REAL
    ),
    **dict.fromkeys(
        ("fake", "fakes", "ai", "aigenerated", "generated", "synthetic", "synthesized",
         "synthesised", "deepfake", "deepfakes", "artificial", "gan"), FAKE
    ),
}  # fmt: skip
# These say real where no other word says something: a fake human is none.
WEAK_REAL = frozenset({"human", "humans", "photo", "photos", "photograph", "photographs", "nature"})
# Words beside a class or a split that change nothing.
NEUTRAL = frozenset({
    "image", "images", "img", "imgs", "picture", "pictures", "pic", "pics", "face", "faces",
    "portrait", "portraits", "person", "people", "data", "dataset", "set", "split", "class",
    "folder", "sample", "samples", "deep", "machine", "computer",
})  # fmt: skip
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")


def class_of(name: str) -> str:
    """The class that a name says, such as ``0_real``, ``training_fake`` or ``AI-generated``.

    Returns:
        ``real`` or ``fake``; empty where a word of it is not understood, or both are named.
    """
    left = [
        word
        for word in _words(name)
        if not word.isdecimal() and word not in NEUTRAL and word not in SPLIT_WORDS
    ]
    weak = all(word in WEAK_REAL for word in left)
    if left and weak:
        return REAL
    classes = {CLASS_WORDS.get(word, "") for word in left if word not in WEAK_REAL}
    return classes.pop() if len(classes) == 1 else ""


def split_in(name: str) -> str:
    """The split that a class folder's name says beside its class: ``training_real``."""
    splits = {SPLIT_WORDS[word] for word in _words(name) if word in SPLIT_WORDS}
    return splits.pop() if len(splits) == 1 else ""


def set_called(name: str) -> str:
    """The name of a set: ``train``, ``valid`` or ``test`` where it says nothing else.

    ``val`` and ``Validation`` are ``valid``; ``valid_q75`` is a set of its own.
    """
    name = name.rstrip("/")
    words = [word for word in _words(name) if word not in NEUTRAL]
    return SPLIT_WORDS.get(words[0], name) if len(words) == 1 and "/" not in name else name


def split_of(set_name: str) -> str:
    """The split that a set belongs to: ``valid_q75`` is part of ``valid``.

    Returns:
        ``train``, ``valid`` or ``test`` by how the set's name begins (``val`` is enough); any
        other name is a split of its own.
    """
    name = set_name.rpartition("/")[2].casefold()
    return next((split for start, split in SPLITS.items() if name.startswith(start)), set_name)


def _words(name: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(name)]
