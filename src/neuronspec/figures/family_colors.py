"""Colors of families: one table for every figure and for the page, whatever languages are shown."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

# Okabe and Ito's palette without black, then two dark colors; as light and dark pages show them. Also to color-blind
# eyes, no two of the nine are closer than the closest two of Okabe and Ito's own.
LIGHT: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#332288", "#882255")
PALETTE: Final = LIGHT[:7]
DARK: Final = ("#2F8FD0", "#E69F00", "#1DB588", "#D48DB4", "#8CCBF2", "#E0702A", "#F0E442", "#6F62E0", "#B03A6E")
HATCHES: Final = ("", "////", "xxxx", "----", "||||", "++++")

# Families that share a color differ in their hatches; the most frequent ones in translation have none.
_FAMILIES: Final = (
    "Germanic Slavic Romance Indo-Aryan Turkic Afro-Asiatic Sino-Tibetan Niger-Congo Austronesian",
    # Hatched, many in the color of a relative or a neighbor
    "Celtic Baltic Hellenic Iranian Mongolic Nilo-Saharan Tai-Kadai Dravidian Uralic",
    # Cross-hatched
    "Albanian Armenian Kartvelian Japonic Koreanic Quechuan Austroasiatic Aymaran Tupian",
)

# Languages without a family are gray.
_GRAYS: Final = {"unknown": "", "Isolate": "////", "Constructed": "xxxx", "Creole": "----"}
_GRAY_LIGHT, _GRAY_DARK = "#9A9A9A", "#7D8796"


@dataclass(frozen=True)
class FamilyColor:
    """The look of a family's areas.

    Attributes:
        light: Color on white.
        dark: Color on a dark page.
        hatch: Pattern of white lines, one of `HATCHES`.
    """

    light: str
    dark: str
    hatch: str


def _make_table() -> dict[str, FamilyColor]:
    table = {}
    for hatch, families in zip(HATCHES, _FAMILIES, strict=False):
        for family, light, dark in zip(families.split(), LIGHT, DARK, strict=True):
            table[family] = FamilyColor(light, dark, hatch)
    return table | {family: FamilyColor(_GRAY_LIGHT, _GRAY_DARK, hatch) for family, hatch in _GRAYS.items()}


FAMILY_COLORS: Final = _make_table()
"""The color of every family that a language of the table can have."""


def choose_colors(groups: Iterable[str]) -> dict[str, FamilyColor]:
    """Return the color of each group, in the order of their first appearance; `""` is no group.

    A family has the color of the table. A group that is no family gets the first color that is free, in the order of
    appearance.

    Example:
        >>> choose_colors(["Slavic", "law"])["Slavic"].light, choose_colors(["Slavic", "law"])["law"].light
        ('#E69F00', '#0072B2')
    """
    names = list(dict.fromkeys(filter(None, groups)))
    known = {name: FAMILY_COLORS[name] for name in names if name in FAMILY_COLORS}
    free = _list_free(set(known.values()))
    return {name: known[name] if name in known else next(free) for name in names}


def _list_free(taken: set[FamilyColor]) -> Iterator[FamilyColor]:
    """Yield all looks that are not taken, plain ones first; after the last one they begin again."""
    looks = [FamilyColor(light, dark, hatch) for hatch in HATCHES for light, dark in zip(LIGHT, DARK, strict=True)]
    return itertools.cycle([look for look in looks if look not in taken] or looks)


def paint_groups(groups: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return how matplotlib fills the area of each group, in the order of their first appearance; `""` is no group."""
    fills = {}
    for group, color in choose_colors(groups).items():
        fills[group] = {"facecolor": color.light, "hatch": color.hatch, "edgecolor": "white", "linewidth": 0}
    return fills
