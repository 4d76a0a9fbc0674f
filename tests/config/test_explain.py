"""What Hydra says of a mistake, said again: the message names the cause. Oracle: the cause, written by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mixbench.config.compose import by_hydra
from mixbench.errors import ConfigError

HEAD = "defaults: [/schema/augment/mixup@_here_, /augment/mixup@_here_]\n"
FILES = {
    "alhpa: 0.7": "In 'augment/mine': Key 'alhpa' not in 'Mixup' (full_key: augment.alhpa).",
    "alpha: far": "In 'augment/mine': Value 'far' of type 'str' could not be converted to Float (full_key:",
    "alpha: [": "mine.yaml: cannot be read: line 3: did not find expected node content.",
    "alpha: 1\nalpha: 2": "a file cannot be read as YAML: ",
}  # fmt: skip


@pytest.mark.parametrize("line", FILES)
def test_a_mistake_in_an_option_file(tmp_path: Path, line: str) -> None:
    """The line that says what is wrong stood below the one that was shown."""
    (tmp_path / "augment").mkdir()
    (tmp_path / "augment" / "mine.yaml").write_text(f"{HEAD}{line}\n")
    with pytest.raises(ConfigError, match=re.escape(FILES[line])):
        by_hydra(["augment=mine"], str(tmp_path))


OVERRIDES = {
    "augment=[mixup,cutmix]": "augment=[mixup,cutmix]: one option at a time; -m augment=mixup,cutmix sweeps",
    "augment=../opt/sam": "augment=../opt/sam: an option is named as its file",
    "model=wrn40_2": "model=wrn40_2: no such option. Write model=wrn16_4 model.depth=40 model.width=2.",
    "model=resnet20": "model=resnet20: no such option. Write model=resnet56 model.depth=20.",
    "model=wrn41_2": "model=wrn41_2: no such option. Did you mean 'wrn28_2'?",
    "hydra.job.env_copy=[MIXBENCH_NOT_SET]": "hydra.job.env_copy=[MIXBENCH_NOT_SET]: cannot be composed",
    "hydra.sweeper.params={seed:1}": "hydra.sweeper.params={seed:1}: is not set; what is swept is written KEY=VALUE",
    "hydra.searchpath=[file://x]": "hydra.searchpath=[file://x]: option files of your own are found by --config-dir",
}


def test_what_may_have_been_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder beside us is no data set, but pictures may lie in it; an option may be a plugin's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets").mkdir()
    with pytest.raises(
        ConfigError, match=r"that folder write dataset=folder dataset\.path=pets\.\nAllowed: "
    ):
        by_hydra(["dataset=pets"])
    with pytest.raises(ConfigError, match=r"Allowed: .*\. One of a plugin's needs --plugin\.$"):
        by_hydra(["augment=mine"])
    with pytest.raises(ConfigError, match=r"Allowed: [^.]*\.$"):
        by_hydra(["hydra/launcher=mine"])


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_mistake_on_the_command_line(override: str) -> None:
    """One message that begins with the override."""
    with pytest.raises(ConfigError, match=f"^{re.escape(OVERRIDES[override])}"):
        by_hydra([override])
