"""`mixbench tables`: what a table's runs wait for on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from mixbench.commands import tables


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ("zou2023/table2b", "zou2023/table3", "zou2023/table3_attention", "park2022/table1")
    monkeypatch.setattr(tables, "names", lambda: keys)


def lines(capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """What is said to be missing, by table."""
    assert tables.main([]) == 0
    found: dict[str, list[str]] = {}
    for line in capsys.readouterr().out.splitlines():
        if line and line[0] not in " m":
            found[key := line.split()[0]] = []
        elif "not here: " in line:
            found[key].append(line.split("not here: ")[1])
    return found


def test_what_is_missing_is_said_once_for_each_table(
    few: None, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By hand: an empty data folder and no timm."""
    monkeypatch.setenv("MIXBENCH_DATA", str(workplace))
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    photographs = f"not in {workplace}/imagenet; dataset.path=DIR, with DIR/train/WNID"
    found = lines(capsys)
    assert found["zou2023/table2b"] == ["tiny_imagenet: mixbench data prepare tiny_imagenet"]
    (only,) = found["zou2023/table3"]
    assert only.startswith(f"imagenet: {photographs}")
    first, second = found["zou2023/table3_attention"]
    assert first == only
    assert second == "timm, for model=coatnet0 (pip install 'mixbench[timm]')"
    assert found["park2022/table1"][0].startswith(f"imagenet100: {photographs}")


def test_a_folder_of_other_classes_holds_up_its_own_tables_alone(
    few: None, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By hand: an ImageNet folder with two classes."""
    for part in ("train", "val"):
        for wnid in ("n01440764", "n01443537"):
            folder = workplace / "imagenet" / part / wnid
            folder.mkdir(parents=True)
            Image.new("RGB", (20, 20)).save(folder / "one.JPEG")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIXBENCH_DATA", str(workplace))
        assert tables.main([]) == 0
    told = capsys.readouterr().out
    assert "cannot be run here: dataset.path=" in told
    assert "has 2 of the 1000 classes of imagenet" in told
    assert "tiny_imagenet: mixbench data prepare tiny_imagenet" in told
