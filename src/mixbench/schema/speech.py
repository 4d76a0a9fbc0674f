"""Speech Commands v0.01: what it is as published, and the shape of its spectrograms."""

from __future__ import annotations

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
