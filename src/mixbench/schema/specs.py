"""What every data set is: sizes, official archives, label convention, checksums. Imports nothing heavy.

The addresses and MD5 sums are those of torchvision's data set classes (a test compares them), and of
Stanford's CS231N course for Tiny-ImageNet. `sha256` holds the checksums of the decoded arrays where they
are known: images as uint8 (N, H, W, C) and labels as int64, both in the official order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mixbench.errors import ConfigError
from mixbench.schema.knob import nearest

# What the last number of an input's shape counts.
LAST = {"image": "channels", "row": "columns", "graph": "features of nodes"}
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class Archive:
    """One official file: its name, its size in bytes and its MD5 sum, or its SHA-256 where that is published."""

    file: str
    bytes: int
    md5: str = ""
    sha256: str = ""

    @property
    def kind(self) -> str:
        """Which checksum is known."""
        return "SHA-256" if self.sha256 else "MD5"

    @property
    def checksum(self) -> str:
        """That checksum in hexadecimal digits."""
        return self.sha256 or self.md5


@dataclass(frozen=True)
class DataSpec:
    """One data set. `kind` says what an input is, `shape` its shape: (height, width, channels) for kind "image",
    (columns,) for "row"; for "graph" how many numbers one is packed into, and how many features of nodes there are.

    `host` is the address below which the archives lie. `classes` holds the names of the labels 0, 1, ..., where they
    are kept here, `noun` what its inputs are called where it is not what those of their kind are. `arrays` names what
    is kept of a prepared set.
    """

    name: str
    title: str
    source: str
    num_classes: int
    train_size: int
    test_size: int
    shape: tuple[int, ...]
    labels: str
    kind: str = "image"
    noun: str = ""
    classes: tuple[str, ...] = ()
    trap: str = ""
    host: str = ""
    archives: tuple[Archive, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)
    arrays: tuple[str, ...] = ARRAYS

    @property
    def embedded(self) -> bool:
        """True if the images come with an installed package, so that nothing has to be downloaded."""
        return not self.archives

    def class_name(self, label: int) -> str:
        """The name of a label, such as "pickup truck", or "class 17" for a set whose names are not kept here."""
        return self.classes[label] if self.classes else f"class {label}"


def _names(listed: str) -> tuple[str, ...]:
    return tuple(" ".join(listed.split()).split(", "))


_DIGITS = _names("zero, one, two, three, four, five, six, seven, eight, nine")

# In the official order, which is the alphabetical one.
_CIFAR100 = """
apple, aquarium fish, baby, bear, beaver, bed, bee, beetle, bicycle, bottle, bowl, boy, bridge, bus, butterfly,
camel, can, castle, caterpillar, cattle, chair, chimpanzee, clock, cloud, cockroach, couch, crab, crocodile, cup,
dinosaur, dolphin, elephant, flatfish, forest, fox, girl, hamster, house, kangaroo, keyboard, lamp, lawn mower,
leopard, lion, lizard, lobster, man, maple tree, motorcycle, mountain, mouse, mushroom, oak tree, orange, orchid,
otter, palm tree, pear, pickup truck, pine tree, plain, plate, poppy, porcupine, possum, rabbit, raccoon, ray,
road, rocket, rose, sea, seal, shark, shrew, skunk, skyscraper, snail, snake, spider, squirrel, streetcar,
sunflower, sweet pepper, table, tank, telephone, television, tiger, tractor, train, trout, tulip, turtle,
wardrobe, whale, willow tree, wolf, woman, worm
"""

_ALL = (
    DataSpec(
        name="digits",
        title="handwritten digits, shipped with scikit-learn",
        source="Alpaydin and Kaynak 1998, test part of Optical Recognition of Handwritten Digits (UCI)",
        num_classes=10,
        train_size=1438,
        test_size=359,
        shape=(8, 8, 1),
        labels="the digit",
        classes=_DIGITS,
        trap="no official split: a fixed stratified 80/20 split; grey values 0..16 are stored times 15",
        sha256={
            "train_images": "ce9e84cc5e5c66f74b9a8ec46a4885d084a616f5bb47fb9d532e94b23baa3bbe",
            "train_labels": "d6f91b1510ef977c787a5ff4f1620a14c8fc182f0993bc23a3b80fce69677f02",
            "test_images": "98e1d0483b9624b338048804a86b8e3dd3a9174c5ea855305792dd8d28c5e534",
            "test_labels": "194a277ff65a458026f60bcbe2bebfe1dd0969dd290f217afc08c2d8def4b818",
        },
    ),
    DataSpec(
        name="cifar10",
        title="tiny colour photographs, 10 classes",
        source="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
        num_classes=10,
        train_size=50_000,
        test_size=10_000,
        shape=(32, 32, 3),
        labels="as in the archive, 0..9",
        classes=_names("airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck"),
        trap="the archive holds planar RGB rows of 3072 bytes",
        host="https://www.cs.toronto.edu/~kriz/",
        archives=(Archive("cifar-10-python.tar.gz", 170_498_071, "c58f30108f718f92721af3b95e74349a"),),
        sha256={
            "train_labels": "f5cfe00b0f00968c0cc5ff3b1d2de51b10e33efa277c2986f4e0fa63e58c9f4f",
            "test_labels": "cbb7365de8ed11f05cc4c3a1e7f78144127c5e851efd83762fb18202461230bb",
        },
    ),
    DataSpec(
        name="cifar100",
        title="tiny colour photographs, 100 classes",
        source="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
        num_classes=100,
        train_size=50_000,
        test_size=10_000,
        shape=(32, 32, 3),
        labels="the fine labels, 0..99",
        classes=_names(_CIFAR100),
        trap="the archive holds planar RGB rows of 3072 bytes, and coarse labels beside the fine ones",
        host="https://www.cs.toronto.edu/~kriz/",
        archives=(Archive("cifar-100-python.tar.gz", 169_001_437, "eb9058c3a382ffc7106e4002c42a8d85"),),
        sha256={
            "train_images": "4e457917601a66aed021f5fa37957b56c6319557c0a8ed5484de3c390af45430",
            "train_labels": "8bf4935e7c77a3096270043c6f3b221b6ecb9c63d1a08608e9af66cff17e977a",
            "test_images": "4cb8e5d9309da489bf6b19cc10cd96c3ae6f8daf225380b605aaee4c0d6aee19",
            "test_labels": "80031c23f8300724c6fbc588e4bccbe41c6392041782148727bb497b0132c4ad",
        },
    ),
    DataSpec(
        name="svhn",
        title="street view house numbers, cropped digits",
        source="Netzer et al. 2011, Reading Digits in Natural Images with Unsupervised Feature Learning",
        num_classes=10,
        train_size=73_257,
        test_size=26_032,
        shape=(32, 32, 3),
        labels="the digit; the archive's 10 means 0",
        classes=_DIGITS,
        trap="images lie along the last axis of the .mat arrays; the 531,131 extra images are not used",
        host="http://ufldl.stanford.edu/housenumbers/",
        archives=(
            Archive("train_32x32.mat", 182_040_794, "e26dedcc434d2e4c54c9b2d4a06d8373"),
            Archive("test_32x32.mat", 64_275_384, "eb5a983be6a315427106f1b164d9cef3"),
        ),
    ),
    DataSpec(
        name="stl10",
        title="96-pixel colour photographs, 10 classes, few labels",
        source="Coates, Ng and Lee 2011, An Analysis of Single-Layer Networks in Unsupervised Feature Learning",
        num_classes=10,
        train_size=5_000,
        test_size=8_000,
        shape=(96, 96, 3),
        labels="0..9; the archive counts from 1",
        classes=_names("airplane, bird, car, cat, deer, dog, horse, monkey, ship, truck"),
        trap="images are stored column by column; the 100,000 unlabelled images are not used",
        host="http://ai.stanford.edu/~acoates/stl10/",
        archives=(Archive("stl10_binary.tar.gz", 2_640_397_119, "91f7769df0f17e558f3565bffb0c7dfb"),),
    ),
    DataSpec(
        name="tiny_imagenet",
        title="64-pixel ImageNet photographs, 200 classes",
        source="Stanford CS231N, Tiny-ImageNet-200; ImageNet terms (non-commercial research)",
        num_classes=200,
        train_size=100_000,
        test_size=10_000,
        shape=(64, 64, 3),
        labels="position of the WordNet id in alphabetical order (not the order of wnids.txt)",
        trap="the test set is the official validation set, as the test images have no labels; some are grey",
        host="http://cs231n.stanford.edu/",
        archives=(Archive("tiny-imagenet-200.zip", 248_100_043, "90528d7ca1a48142e341f4ef8d21d0de"),),
    ),
    DataSpec(
        name="fashion_mnist",
        title="28-pixel grey pictures of clothes",
        source="Xiao, Rasul and Vollgraf 2017, Fashion-MNIST",
        num_classes=10,
        train_size=60_000,
        test_size=10_000,
        shape=(28, 28, 1),
        labels="as in the archive, 0..9",
        classes=_names(
            "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"
        ),
        trap="its files have the same names as those of MNIST and KMNIST",
        host="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        archives=(
            Archive("train-images-idx3-ubyte.gz", 26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            Archive("train-labels-idx1-ubyte.gz", 29_515, "25c81989df183df01b3e8a0aad5dffbe"),
            Archive("t10k-images-idx3-ubyte.gz", 4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
            Archive("t10k-labels-idx1-ubyte.gz", 5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
    ),
    DataSpec(
        name="kmnist",
        title="28-pixel grey cursive Japanese characters (Kuzushiji)",
        source="Clanuwat et al. 2018, Deep Learning for Classical Japanese Literature",
        num_classes=10,
        train_size=60_000,
        test_size=10_000,
        shape=(28, 28, 1),
        labels="as in the archive, 0..9",
        classes=_names("o, ki, su, tsu, na, ha, ma, ya, re, wo"),
        trap="its files have the same names as those of MNIST and Fashion-MNIST",
        host="http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        archives=(
            Archive("train-images-idx3-ubyte.gz", 18_165_135, "bdb82020997e1d708af4cf47b453dcf7"),
            Archive("train-labels-idx1-ubyte.gz", 29_497, "e144d726b3acfaa3e44228e80efcd344"),
            Archive("t10k-images-idx3-ubyte.gz", 3_041_136, "5c965bf0a639b31b8f53240b1b52f4d7"),
            Archive("t10k-labels-idx1-ubyte.gz", 5_120, "7320c461ea6c1c855c0b718fb2a4b134"),
        ),
    ),
)

SPECS: dict[str, DataSpec] = {spec.name: spec for spec in _ALL}


def find(name: str, among: Mapping[str, DataSpec] = SPECS) -> DataSpec:
    """The specification called `name`. Raises ConfigError with the nearest name if there is none."""
    if name not in among:
        raise ConfigError(
            f"unknown data set '{name}': choose one of {', '.join(among)}.{nearest(name, list(among))}"
        )
    return among[name]
