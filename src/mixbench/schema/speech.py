"""Speech Commands v0.01: what it is as published, the shape of its spectrograms, and its knobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mixbench.files import expanded
from mixbench.inventory.paths import data_dir as resolve_data_dir
from mixbench.inventory.paths import downloads
from mixbench.schema.examples import DataDir, Dataset
from mixbench.schema.knob import knob
from mixbench.schema.specs import Archive, DataSpec

BACKGROUND = "_background_noise_"  # six long recordings, which are no examples
LISTS = {"test": "testing_list.txt", "val": "validation_list.txt"}
RATE = 16_000  # samples per second; a clip is a second or less
WINDOW, HOP = 320, 160  # samples: 20 and 10 ms
BINS, FRAMES = WINDOW // 2 + 1, RATE // HOP + 1

# Training and validation clips together are the 57,886 from which the published list holds 6,798 out.
SPEECH = DataSpec(
    name="speech_commands",
    title="one-second clips of 30 spoken words, as spectrograms",
    source="Warden 2017, Speech Commands v0.01 (Creative Commons BY 4.0)",
    num_classes=30,
    train_size=57_886,
    test_size=6_835,
    shape=(BINS, FRAMES, 1),
    noun="clips",
    labels="position of the word in alphabetical order",
    trap="test and validation part by the published lists; _background_noise_ is not used",
    host="http://download.tensorflow.org/data/",
    archives=(
        Archive(
            "speech_commands_v0.01.tar.gz",
            1_489_096_277,
            sha256="743935421bb51cccdb6bdd152e04c5c70274e935c82119ad7faeec31780d811d",
        ),
    ),
)
HELD_OUT = 6_798


@dataclass
class SpeechCommands(Dataset):
    """Speech Commands v0.01 as spectrograms, cut into training, validation and test clips by the published lists.

    Source: Warden, Speech Commands, 2017; the spectrograms of adiyoss/GCommandsPytorch, as in Zou et al. (2023).
    """

    # Each spectrogram is normalised for itself, and nothing is cropped or mirrored.
    mean: ClassVar[list[float]] = [0.0]
    std: ClassVar[list[float]] = [1.0]
    base_augment: ClassVar[bool] = False
    crop_padding: ClassVar[int] = 0
    flip: ClassVar[bool] = False

    name: str = "speech_commands"
    path: str = knob(
        "the official archive, or the folder where it is unpacked; empty: it is downloaded below data_dir",
        default="",
        scientific=False,
    )
    mirrors: list[str] = knob(
        "addresses of folders that hold the official archive, tried before the official host",
        default=[],
        scientific=False,
    )

    def spec(self) -> DataSpec:
        return SPEECH

    def held_out(self) -> int:
        return HELD_OUT

    def lacking(self, data_dir: DataDir = None) -> str:
        """What is missing before it can be trained on; empty where archive or folder is there."""
        (archive,) = SPEECH.archives
        place = (
            expanded(self.path)
            if self.path
            else downloads(resolve_data_dir(data_dir), self.name) / archive.file
        )
        return (
            ""
            if place.exists()
            else f"{self.name}: {place}; else it is downloaded, {archive.bytes / 1e9:.1f} GB"
        )
