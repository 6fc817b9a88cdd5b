"""Images that show the same: found by hashes, joined into groups, kept in one split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deepfake_core.datasets.checks.measures import SMALL_SIDE, Measured
from deepfake_core.datasets.labelled import Labelled
from deepfake_core.datasets.names import SPLITS

# Measured on 7,378 aligned faces with 313 pairs that are known to show the same picture: 311 are
# found, and no other pair. Aligned faces are alike, so the hash alone (at most 10 bits differ)
# would join 8,700 pairs of different faces; the small pictures tell these apart.
MAX_DIFFERENT_BITS = 10
MIN_CORRELATION = 0.97
MAX_DIFFERENCE = 20  # root mean square, in grey levels
# Below this many grey levels of contrast a picture is flat and its correlation is noise.
MIN_CONTRAST = 1.0
ROWS = 256

Floats = npt.NDArray[np.float32]
Pairs = npt.NDArray[np.int64]
SPLIT_ORDER = {split: place for place, split in enumerate(SPLITS.values())}


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Images that show the same.

    Attributes:
        members: places of the images in the order they were given, ascending.
        exact: whether all have the same bytes.
        mirrored: whether some show the same with left and right exchanged.
    """

    members: tuple[int, ...]
    exact: bool
    mirrored: bool = False


def find_duplicates(measured: Sequence[Measured]) -> list[Duplicates]:
    """Join images with the same bytes, or that look the same, to groups of two and more."""
    first = {file.sha256: place for place, file in reversed(list(enumerate(measured)))}
    exact = [(first[file.sha256], place) for place, file in enumerate(measured)]
    unique = np.array(sorted(first.values()), np.int64)
    some = [measured[place] for place in unique]
    near, flipped = unique[find_near_pairs(some)], unique[find_near_pairs(some, mirrored=True)]
    pairs = [np.array(exact, np.int64).reshape(-1, 2), near, flipped]
    labels = _connected(len(measured), np.concatenate(pairs))
    mirrored = set(labels[flipped[:, 0]].tolist())
    return [
        Duplicates(
            members,
            exact=len({measured[place].sha256 for place in members}) == 1,
            mirrored=int(labels[members[0]]) in mirrored,
        )
        for members in _members(labels)
        if len(members) > 1
    ]


@dataclass(frozen=True, slots=True)
class _Pictures:
    """What N pictures are compared by: uint64[N] hashes, and float32[N, P] pixels, also centred."""

    hashes: npt.NDArray[np.uint64]
    small: Floats
    centred: Floats

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> _Pictures:
        return _Pictures(self.hashes[rows], self.small[rows], self.centred[rows])


def find_near_pairs(measured: Sequence[Measured], *, mirrored: bool = False) -> Pairs:
    """Pairs of images that look the same: int64[P, 2], the smaller place first.

    Every image is compared with every later one, in blocks: by the bits of their perceptual
    hashes, and where these are alike by their small pictures.

    Args:
        measured: the images.
        mirrored: look for pairs of which one is the other with left and right exchanged.
    """
    if len(measured) < 2:
        return np.empty((0, 2), np.int64)
    pictures = _pictures(measured, mirrored=False)
    others = _pictures(measured, mirrored=True) if mirrored else pictures
    starts = range(0, len(measured), ROWS)
    return np.concatenate([
        _near_block(pictures[at : at + ROWS], others[at:]) + at for at in starts
    ])  # fmt: skip


def _pictures(measured: Sequence[Measured], *, mirrored: bool) -> _Pictures:
    hashes = [file.mirrored if mirrored else file.perceptual for file in measured]
    small = np.array([file.small for file in measured], np.float32)
    if mirrored:
        square = small.reshape(len(small), SMALL_SIDE, SMALL_SIDE)
        small = square[:, :, ::-1].reshape(small.shape)
    centred = small - small.mean(axis=1, keepdims=True)
    contrast = np.linalg.norm(centred, axis=1, keepdims=True)
    centred /= np.maximum(contrast, MIN_CONTRAST * np.sqrt(small.shape[1]))
    return _Pictures(np.array(hashes, np.uint64), small, centred)


def _near_block(pictures: _Pictures, others: _Pictures) -> Pairs:
    """The near pairs of a few images with the others that come after each of them."""
    bits = np.bitwise_count(pictures.hashes[:, None] ^ others.hashes[None, :])
    alike = np.triu(bits <= MAX_DIFFERENT_BITS, 1)
    rows, columns = np.flatnonzero(alike.any(axis=1)), np.flatnonzero(alike.any(axis=0))
    left, right = pictures[rows], others[columns]
    products = left.small @ right.small.T
    squares = (left.small**2).sum(axis=1)[:, None] + (right.small**2).sum(axis=1)[None, :]
    near = alike[np.ix_(rows, columns)]
    near &= squares - 2 * products <= MAX_DIFFERENCE**2 * left.small.shape[1]
    near &= left.centred @ right.centred.T >= MIN_CORRELATION
    found_rows, found_columns = np.nonzero(near)
    return np.stack([rows[found_rows], columns[found_columns]], axis=1).astype(np.int64)


def _connected(count: int, pairs: Pairs) -> npt.NDArray[np.int32]:
    """The component of each of `count` nodes that are joined by pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not count:
        return np.empty(0, np.int32)
    ones = np.ones(len(pairs), np.int8)
    graph = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    labels: npt.NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return labels


def _members(labels: Iterable[int]) -> list[tuple[int, ...]]:
    groups: dict[int, list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        groups[label].append(place)
    return [tuple(members) for members in groups.values()]


def join_groups(images: Sequence[Labelled], duplicates: Sequence[Duplicates]) -> list[Labelled]:
    """Give images that show the same one group, and each group one split; in order.

    A group is named like the first of the groups it joins. Where it lies in several splits, its
    images move to the earliest of train, valid and test: nothing that was learned from is left
    among what is evaluated.
    """
    first = {image.group_id: place for place, image in reversed(list(enumerate(images)))}
    declared = [(first[image.group_id], place) for place, image in enumerate(images)]
    regrouped = [
        (duplicate.members[0], other) for duplicate in duplicates for other in duplicate.members[1:]
    ]
    links = np.array(declared + regrouped, np.int64).reshape(-1, 2)
    joined = list(images)
    for members in _members(_connected(len(images), links)):
        group = [images[place] for place in members]
        name = min(image.group_id for image in group)
        split = min((image.split for image in group), key=_order)
        home = min(image.set_name for image in group if image.split == split)
        for place in members:
            image = images[place]
            set_name = image.set_name if image.split == split else home
            joined[place] = replace(image, group_id=name, set_name=set_name)
    return joined


def _order(split: str) -> tuple[int, str]:
    return SPLIT_ORDER.get(split, len(SPLIT_ORDER)), split


def name_of(image: Labelled, root: Path) -> str:
    """An image's path relative to the folder, with forward slashes."""
    return image.path.relative_to(root).as_posix()
