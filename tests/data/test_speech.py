"""Speech Commands from generated clips: spectrograms against NumPy and SciPy, the published lists, what is refused."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import get_window
from whole_runs import result

from mixbench.config.compose import compose
from mixbench.data import speech as module
from mixbench.data.spectrograms import spectrograms
from mixbench.data.speech import load_speech
from mixbench.errors import ConfigError, DataError
from mixbench.schema.speech import SPEECH, Archive, SpeechCommands

WORDS = [f"word{k:02}" for k in range(30)]


def write(path: Path, samples: np.ndarray, rate: int = 16_000, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as clip:
        clip.setnchannels(channels)
        clip.setsampwidth(2)
        clip.setframerate(rate)
        clip.writeframes(samples.astype("<i2").tobytes())


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tones of each word, some shorter than a second; one for testing, one for validation; noise beside them."""
    root, random = tmp_path_factory.mktemp("speech") / "set", np.random.default_rng(0)
    for k, word in enumerate(WORDS):
        for i in range(4):
            time = np.arange(16_000 if i else 11_889) / 16_000
            write(
                root / word / f"{i}.wav",
                8000 * np.sin(2 * np.pi * (200 + 100 * k) * time) + random.normal(0, 300, len(time)),
            )
    write(root / "_background_noise_" / "noise.wav", random.normal(0, 300, 48_000))
    (root / "README.md").write_text("words")
    (root / "testing_list.txt").write_text("".join(f"{word}/0.wav\n" for word in WORDS))
    (root / "validation_list.txt").write_text("".join(f"{word}/2.wav\n" for word in reversed(WORDS)))
    return root


def librosa_like(clip: np.ndarray) -> np.ndarray:
    """The spectrogram of gcommand_loader.py, with librosa's centred STFT written out in NumPy, float64."""
    samples = np.pad(clip / 32768, 160, mode="reflect")
    window = get_window("hamming", 320)
    frames = [samples[start : start + 320] * window for start in range(0, len(samples) - 319, 160)]
    heights = np.log1p(np.abs(np.fft.rfft(frames))).T
    heights = np.hstack([heights, np.zeros((161, 101 - heights.shape[1]))])
    return (heights - heights.mean()) / heights.std(ddof=1)


@pytest.mark.parametrize("length", [16_000, 15_999, 11_889, 4_000, 161])
def test_spectrograms_are_those_of_the_original(length: int) -> None:
    """Oracle: NumPy's FFT and SciPy's window. 161x101 numbers, a short clip ends in equal ones; mean 0, deviation 1."""
    random = np.random.default_rng(length)
    waves = [random.integers(-32768, 32768, n).astype(np.int16) for n in (length, 16_000, length)]
    found = spectrograms(waves, torch.device("cpu"))
    assert found.shape == (3, 161, 101, 1)
    for clip, spectrogram in zip(waves, found[..., 0], strict=True):
        np.testing.assert_allclose(spectrogram, librosa_like(clip), atol=2e-4)


def test_a_clip_without_sound_is_zero() -> None:
    assert not spectrograms([np.zeros(16_000, np.int16)], torch.device("cpu")).any()


def test_parts_are_those_of_the_lists(clips: Path, tmp_path: Path) -> None:
    """File 0 of each word is for testing, file 2 for validation; the noise is no example; the note says what lacks."""
    splits = load_speech(SpeechCommands(path=str(clips)), tmp_path)
    assert [len(part.labels) for part in (splits.train, splits.val, splits.test)] == [60, 30, 30]
    assert splits.train.labels.tolist() == [k for k in range(30) for _ in range(2)]
    assert splits.test.labels.tolist() == splits.val.labels.tolist() == list(range(30))
    assert {len(clip) for clip in splits.test.inputs.waves} == {11_889}
    assert splits.note == (
        "not the whole set: 60 of 51,088 train clips, 30 of 6,798 val clips, 30 of 6,835 test clips"
    )


def archived(clips: Path, path: Path) -> Archive:
    with tarfile.open(path, "w:gz") as archive:
        for item in sorted(clips.iterdir()):
            archive.add(item, f"./{item.name}")
    data = path.read_bytes()
    return Archive(path.name, len(data), sha256=hashlib.sha256(data).hexdigest())


def test_an_archive_holds_the_same(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the folder. The archive comes from a path or by download, and is refused with another checksum."""
    path = tmp_path / "speech_commands_v0.01.tar.gz"
    archive = archived(clips, path)
    expected = load_speech(SpeechCommands(path=str(clips)), tmp_path)
    with pytest.raises(DataError, match=r"SHA-256 is [0-9a-f]{64} .* expected 743935421bb51cc"):
        load_speech(SpeechCommands(path=str(path)), tmp_path)
    monkeypatch.setattr(module, "SPEECH", replace(SPEECH, archives=(archive,)))
    mirrored = SpeechCommands(mirrors=[tmp_path.as_uri()])
    for option in (SpeechCommands(path=str(path)), mirrored):
        splits = load_speech(option, tmp_path / "data")
        assert splits.sha256["content"] == expected.sha256["content"]
        for one, two in (
            (splits.train, expected.train),
            (splits.val, expected.val),
            (splits.test, expected.test),
        ):
            assert all(map(np.array_equal, one.inputs.waves, two.inputs.waves))
            assert one.labels.tolist() == two.labels.tolist()
    assert (tmp_path / "data/downloads/speech_commands" / path.name).exists()


def damaged(root: Path, how: str) -> None:
    wav = root / "word07/1.wav"
    if how == "empty":
        wav.write_bytes(b"")
    elif how == "no wav":
        wav.write_bytes(b"x" * 100)
    elif how == "cut":
        wav.write_bytes(wav.read_bytes()[:20_000])
    elif how == "rate":
        write(wav, np.zeros(8000), rate=8000)
    elif how == "stereo":
        write(wav, np.zeros(16_000), channels=2)
    elif how == "list":
        (root / "testing_list.txt").unlink()
    elif how == "listed":
        (root / "word07/0.wav").unlink()
    elif how == "word":
        shutil.rmtree(root / "word07")
        for name in ("testing_list.txt", "validation_list.txt"):
            lines = (root / name).read_text().splitlines()
            (root / name).write_text("\n".join(line for line in lines if "word07" not in line))


DAMAGE = {
    "empty": "1 clip cannot be read:\n  word07/1.wav: is empty",
    "no wav": "word07/1.wav: is no wav file (file does not start with RIFF id)",
    "cut": "word07/1.wav: is cut off: 9978 of 16000 samples",
    "rate": "word07/1.wav: has 1 channels of 16 bits at 8000 Hz, expected 1 of 16 bits at 16000 Hz",
    "stereo": "word07/1.wav: has 2 channels of 16 bits",
    "list": "has no testing_list.txt, which says what is held out",
    "listed": "testing_list.txt lists clips that are not there: word07/0.wav",
    "word": "has clips of 29 words; Speech Commands v0.01 has 30",
}


@pytest.mark.parametrize("how", DAMAGE)
def test_what_is_damaged_is_named(clips: Path, tmp_path: Path, how: str) -> None:
    copy = Path(shutil.copytree(clips, tmp_path / "copy"))
    damaged(copy, how)
    with pytest.raises(DataError) as caught:
        load_speech(SpeechCommands(path=str(copy)), tmp_path)
    assert DAMAGE[how] in str(caught.value)


def test_networks_for_other_inputs_are_refused() -> None:
    with pytest.raises(
        ConfigError,
        match=r"model=lenet: is made for spectrograms of 161x101; inputs of digits have 8x8",
    ):
        compose(["model=lenet"])
    with pytest.raises(ConfigError, match=r"model\.depth=16: a VGG for spectrograms has depth 11 or 13"):
        compose(["model=vgg11", "model.depth=16", "dataset=speech_commands"])


def test_a_run(mixbench, workplace: Path, clips: Path) -> None:
    """From clips to the record, with validation by the published list."""
    how = (
        "dataset=speech_commands",
        f"dataset.path={clips}",
        "model=lenet",
        "augment=mixup",
        "regularizer=mixupe",
    )
    rest = ("epochs=1", "batch_size=30", "opt=adam", "progress=false")
    done = mixbench("train", *how, *rest)
    assert done.status == 0, done.err
    assert "speech_commands: 60 training, 30 test, 30 validation images 161x101x1, 30 classes" in done.out
    assert "note     not the whole set: 60 of 51,088 train clips" in done.out
    assert 0 <= result(workplace / "outputs")[1][0]["val_acc"] <= 100
    # Other clips under the same name are not this run's.
    other = Path(shutil.copytree(clips, workplace / "other"))
    next(other.glob("word03/*.wav")).with_name("more.wav").write_bytes(
        next(other.glob("word03/*.wav")).read_bytes()
    )
    again = mixbench("train", *(f"dataset.path={other}" if "path" in o else o for o in how), *rest)
    assert again.status == 2
    assert (
        "was trained on other data than there are now under the name speech_commands: the SHA-256 of files"
        in again.err
    )
    assert mixbench("train", *how, *rest).out.startswith("finished")
    assert (
        "word03"
        in mixbench(
            "eval", str(next((workplace / "outputs").rglob("summary.json")).parent), "--only", "per_class"
        ).out
    )
