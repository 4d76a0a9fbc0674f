"""The tables of Zou et al. (2023), Table 4: what each holds, and where it comes from. Imports nothing heavy.

`sha256` are the checksums of the stored arrays (see `mixbench.data.store.tables`) where the data were at hand. The
OpenML numbers, and the sizes of the four sets without checksums, are those of openml.org.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from mixbench.schema.examples import Dataset
from mixbench.schema.knob import knob
from mixbench.schema.specs import DataSpec

TABLE_ARRAYS = ("inputs", "labels")


@dataclass(frozen=True)
class Part:
    """A text file of rows: where the label stands in a row, and whether the first line names the columns."""

    file: str
    label: int = -1
    header: bool = False


@dataclass(frozen=True)
class TableSpec(DataSpec):
    """A table: `columns` without the label, of which those in `categories` have these values, the others numbers.

    `shape` counts them as the network sees them: the numbers, then a column for each value of each category. `openml`
    is the number of the data set at OpenML, `parts` the files of the UCI repository, in their order, `bounds` what
    classes a number as the label is cut into: at most the first bound, at most the second, ..., more.
    """

    kind: str = "row"
    arrays: tuple[str, ...] = TABLE_ARRAYS
    openml: int = 0
    columns: int = 0
    categories: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    bounds: tuple[int, ...] = ()
    shipped: bool = False

    @property
    def rows(self) -> int:
        """How many rows there are, before they are split."""
        return self.train_size + self.test_size

    @property
    def embedded(self) -> bool:
        return self.shipped


def _table(
    name: str, title: str, openml: int, rows: int, columns: int, classes: str, **more: object
) -> TableSpec:
    categories: Mapping[int, tuple[str, ...]] = more.pop("categories", {})  # type: ignore[assignment]
    wide = columns - len(categories) + sum(map(len, categories.values()))
    names = tuple(classes.split())
    return TableSpec(
        name=name,
        title=title,
        source=f"UCI Machine Learning Repository; OpenML {openml}",
        num_classes=len(names),
        train_size=rows,
        test_size=0,
        shape=(wide,),
        labels="position of the class in ascending order",
        classes=names,
        openml=openml,
        columns=columns,
        categories=categories,
        **more,  # type: ignore[arg-type]
    )


_DIGITS = "0 1 2 3 4 5 6 7 8 9"
_TEN = "1 2 3 4 5 6 7 8 9 10"  # OpenML's names of mfeat's digits
_YES = ("0", "1")
_FOUR = ("1", "2", "3", "4")
_ARRHYTHMIA = (1, *(column for first in range(21, 154, 12) for column in range(first, first + 6)))

_ALL = (
    _table(
        "arrhythmia", "electrocardiograms, 13 of 16 classes occur", 5, 452, 279,
        "1 2 3 4 5 6 7 8 9 10 14 15 16",
        categories=dict.fromkeys(_ARRHYTHMIA, _YES), parts=(Part("arrhythmia.arff"),),
        trap="classes of two rows, and missing values in five columns",
        sha256={
            "inputs": "fe0f3aa135543a1ac945805a2f1e09c46dc018454aeea8930b969cadf2072f7f",
            "labels": "7d8084dc463e28e908d9213fb3484954f3f2a1f6d1e13169dd0b1d2146d5ef28",
        },
    ),
    _table(
        "letter", "letters in several fonts, as 16 measures", 6, 20_000, 16,
        "A B C D E F G H I J K L M N O P Q R S T U V W X Y Z", parts=(Part("letter-recognition.data", label=0),),
        sha256={
            "inputs": "b97d4839b21675545b0f67cb80ce145fe1849141ed2a065f11a39d2bf4842b71",
            "labels": "072c31f93c0d6162ee2871f8ca8cf77e8ecc3b1de543e59db1ed42db5454c2fb",
        },
    ),
    _table(
        "balance_scale", "to which side a balance tips", 11, 625, 4, "B L R", parts=(Part("balance.scale.arff"),),
        sha256={
            "inputs": "5175c107f8073a13942f16e5364ba9ae7c7cdff51969d913ce59175045999fd8",
            "labels": "3d4a99037553864603125caf0e8468b10df3b4c98fb0a1e2584bdfd8da15be95",
        },
    ),
    _table(
        "mfeat_factors", "handwritten digits, 216 profile correlations", 12, 2_000, 216, _TEN,
        parts=(Part("mfeat-fac.csv"),),
        sha256={
            "inputs": "c2ae713f2f453726e9a9c02e5c7666201a8b838bf5beb28b863db20a3e3800ec",
            "labels": "4e64a02568003d897e7b68ba22d98a34f324c87f72edef91cddc23d3c5cfeb56",
        },
    ),
    _table(
        "mfeat_fourier", "handwritten digits, 76 Fourier coefficients", 14, 2_000, 76, _TEN,
        parts=(Part("mfeat-fou.csv"),),
        sha256={
            "inputs": "1b6d18d60680dd6feebbf7f23f3dbc441b622e8487ef0bfb2410b6973f73d2d2",
            "labels": "4e64a02568003d897e7b68ba22d98a34f324c87f72edef91cddc23d3c5cfeb56",
        },
    ),
    _table(
        "mfeat_karhunen", "handwritten digits, 64 Karhunen-Loeve coefficients", 16, 2_000, 64, _TEN,
        parts=(Part("mfeat-kar.csv"),),
        sha256={
            "inputs": "5c517361c8fde6ba871bd82332366e1334f60ed7a0b9beb4b4ae69c41ead9946",
            "labels": "4e64a02568003d897e7b68ba22d98a34f324c87f72edef91cddc23d3c5cfeb56",
        },
    ),
    _table("mfeat_morphological", "handwritten digits, 6 morphological features", 18, 2_000, 6, _TEN),
    _table("mfeat_zernike", "handwritten digits, 47 Zernike moments", 22, 2_000, 47, _TEN),
    _table(
        "cmc", "which contraceptive women use", 23, 1_473, 9, "1 2 3",
        categories={1: _FOUR, 2: _FOUR, 4: _YES, 5: _YES, 6: _FOUR, 7: _FOUR, 8: _YES},
        parts=(Part("cmc.data", header=True),),
        sha256={
            "inputs": "01df633163060cd00eba00222701211161333cc091c800ca845c590e9015e38f",
            "labels": "390108ec7e6e0876d3756d82db36c91d33cc01bd510c750fa50b3e1f2bee5680",
        },
    ),
    _table(
        "optdigits", "handwritten digits, 8x8 counts of pixels", 28, 5_620, 64, _DIGITS,
        parts=(Part("optdigits.tra", header=True), Part("optdigits.tes", header=True)),
        sha256={
            "inputs": "a812fca42a4d04a6539482f8a8da82fbe1af92a3bc48e0c593653594ab101858",
            "labels": "48e022da6d51f1daf449a3bf3f51157ad7bffb8496705a2e208a22d566ad559a",
        },
    ),
    _table(
        "pendigits", "digits written with a pen, 8 points of the stroke", 32, 10_992, 16, _DIGITS,
        parts=(Part("pendigits.tra", header=True), Part("pendigits.tes", header=True)),
        sha256={
            "inputs": "7465f290418910056832a68e8f8f7f53e57813ea6782e3265092012902c0d8c5",
            "labels": "c1052f6c7bb25e07e189ace764387fb9a17c6cbce0eae37a4f36374e5328c96e",
        },
    ),
    _table(
        "iris", "Fisher's irises, shipped with scikit-learn", 61, 150, 4, "setosa versicolor virginica",
        parts=(Part("iris.csv"),), shipped=True,
        trap="two flowers of the UCI file differ from Fisher's, which scikit-learn has",
        sha256={
            "inputs": "72725ed17a2ef2eaa3e5fa085be2d37435663f4094df7abf31087a3dca439af8",
            "labels": "734737f11162991213afc3a96aa5e8823b2d9cdcfb8992df1e85a0bae44b2395",
        },
    ),
    _table("mnist_784", "handwritten digits, 28x28 grey values", 554, 70_000, 784, _DIGITS),
    _table(
        "abalone", "the age of sea snails in three classes", 183, 4_177, 8, "to_8_rings 9_or_10 from_11",
        categories={0: ("F", "I", "M")}, parts=(Part("abalone.csv"),), bounds=(8, 10),
        trap="three classes: with one for each of 28 counts of rings no network comes near the published errors",
        sha256={
            "inputs": "8126159e9e28ae010cba5a3564fa8b4cc1d79e2ee8c3f7c58a9d687e2d098118",
            "labels": "cbdd9c9638e4e0b645d23e256cb0b01d6d46646e8a85366adaf177d07a9e6694",
        },
    ),
    _table("volkert", "of the AutoML challenge, 180 columns of unknown meaning", 41166, 58_310, 180, _DIGITS),
)  # fmt: skip

TABLES: dict[str, TableSpec] = {spec.name: spec for spec in _ALL}


@dataclass
class Table(Dataset):
    """A table of numbers and categories, cut into training, validation and test rows.

    Source: the UCI Machine Learning Repository, as Zou et al. (2023), Table 4, take them from OpenML.
    """

    holds_out: ClassVar[str] = "choose a dataset.split with validation rows"

    name: str = knob("the table", choices=list(TABLES))
    split: str = knob("per cent of training, validation and test rows, stratified: 60/20/20")
    split_seed: int = knob("which rows they are", at_least=0)

    def spec(self) -> TableSpec:
        whole = TABLES[self.name]
        _, test = self.shares()
        return dataclasses.replace(whole, train_size=whole.rows - test, test_size=test)

    def shares(self) -> tuple[int, int]:
        """The number of validation and of test rows."""
        rows = TABLES[self.name].rows
        _, val, test = (int(share) for share in self.split.split("/"))
        return round(rows * val / 100), round(rows * test / 100)

    def held_out(self) -> int:
        return self.shares()[0]

    def problems(self) -> Iterator[str]:
        found = re.fullmatch(r"([1-9]\d?)/([1-9]\d?)/([1-9]\d?)", self.split)
        if not found or sum(map(int, found.groups())) != 100:
            yield (
                f"dataset.split={self.split}: must be three whole percentages of training, validation and test rows"
                " that sum to 100, such as 60/20/20."
            )
