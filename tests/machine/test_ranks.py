"""One run over two ranks: what they exchange, and that they train what one process would."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_checks import METHODS
from safetensors.torch import load_file

from mixbench.config.compose import compose
from mixbench.config.identity import run_id

TOLERANCE = 1e-5  # of the way that the weights go in an epoch; float32's rounding makes some 3e-7


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> list[dict[str, Any]]:
    """What rank_checks.py computes on rank 0 and on rank 1."""
    out = tmp_path_factory.mktemp("ranks") / "found"
    shared = os.environ | {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    shared["MIXBENCH_DATA"] = str(data_dir)
    shared["PYTHONSAFEPATH"] = (
        ""  # a command in this process sets it, and the script imports from its own folder
    )
    command = [sys.executable, str(Path(__file__).parents[1] / "support/rank_checks.py"), str(out)]
    processes = [
        subprocess.Popen(command, env=shared | {"RANK": rank, "LOCAL_RANK": rank}) for rank in ("0", "1")
    ]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]
    return [json.loads(Path(f"{out}.{rank}").read_text()) for rank in (0, 1)]


def test_exchanges(found: list[dict[str, Any]]) -> None:
    """Closed forms: with rank r's numbers r, 10 r, (1, r), (r, 5 - r) all means, sums and maxima are known."""
    for rank, of in enumerate(entry["exchanges"] for entry in found):
        assert of["same part"]
        assert of["gathered"]
        assert of["share"] == [[0, 2, 4], [1, 3]][rank]
        assert of["means"] == [[[0.5] * 3] * 2, 5.0]
        assert of["total"] == [2.0, 1.0]
        assert of["spread"] == [[0.0, 0.0], 5.0]
        assert of["told"] == 0
        assert of["agreed"] == [1, 5, 0]
    assert found[0]["exchanges"]["refused"] == ""
    assert (
        found[1]["exchanges"]["refused"] == "a thing of rank 1 (of rank 1) is not that of rank 0 (of rank 0)."
    )


def test_ranks_decode_a_part_each_and_see_the_whole_batch(found: list[dict[str, Any]]) -> None:
    """Oracle: one process, bit for bit, with random crops and in batches that two does not divide; 3 batches of 6 in
    training, then all 24 pictures in batches of 9 and of one, of which rank 0 reads the larger part."""
    for entry, mine in zip(found, (9 + 5 + 5 + 3 + 24, 9 + 4 + 4 + 3), strict=True):
        assert entry["streamed"]["equal"]
        assert entry["streamed"]["read"] == [mine, 18 + 24 + 24]


def test_evaluation_over_two_ranks_counts_every_example_once(found: list[dict[str, Any]]) -> None:
    """Oracle: one process. 359 examples in 1, 3, 52 and 359 batches, which two ranks do not share evenly."""
    for entry in found:
        for together, alone in entry["evaluations"]:
            assert together["acc"] == alone["acc"]
            assert together["top5"] == alone["top5"]
            assert together["loss"] == pytest.approx(alone["loss"], rel=1e-14)


def test_sgd_is_distributed_data_parallel(found: list[dict[str, Any]]) -> None:
    """Oracle: torch's DistributedDataParallel, with BatchNorm: the same weights and, on rank 0, the same statistics;
    and its gradients clipped by torch.nn.utils.clip_grad_norm_, which sees them averaged."""
    for result in found[0]["distributed_data_parallel"]:
        assert result["moved"] > 0.1
        assert result["apart"] < 1e-6


def test_a_per_device_step_is_the_mean_of_the_steps_of_both_parts(found: list[dict[str, Any]]) -> None:
    """Oracle: a process alone on either part. One step of SGD is linear in the gradient, so weights average."""
    for entry in found:
        for rule, apart in entry["per_device"].items():
            assert apart < TOLERANCE, rule


@pytest.mark.parametrize("method", METHODS)
def test_two_ranks_train_as_one_process(found: list[dict[str, Any]], method: str) -> None:
    """Oracle: the same epoch in one process. Synchronised ascent and no BatchNorm: same weights, same row."""
    for entry in found:
        same = {f"{method} synchronised", method} & set(entry["epochs"])
        assert len(same) == 1
        of = entry["epochs"][same.pop()]
        assert of["apart"] < TOLERANCE
        together, alone = of["rows"]
        assert together == pytest.approx(alone, rel=1e-5)
        if other := entry["epochs"].get(f"{method} per_device"):
            assert other["apart"] > 0.01  # which is another method, so the comparison can fail


def test_alone_the_ascent_makes_no_difference(mixbench: Callable, workplace: Path) -> None:
    """Limiting case: with one process there is one part, so both ascents give the same bits."""
    for ascent in ("per_device", "synchronised"):
        done = mixbench(
            "train", "opt=dgmix", "augment=mixup", f"opt.ascent={ascent}", "epochs=1", f"output_dir={ascent}"
        )
        assert done.status == 0
    one, other = (next((workplace / a).rglob("model.safetensors")) for a in ("per_device", "synchronised"))
    weights = load_file(other)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in load_file(one).items())


def test_the_number_of_devices_and_the_ascent_are_part_of_the_run() -> None:
    """Another science is another directory; the defaults leave the ids of earlier runs as they were."""
    ids = {
        run_id(compose(["augment=gmix", "opt=sam", *more]))
        for more in ([], ["devices=2"], ["devices=4"], ["devices=2", "opt.ascent=synchronised"])
    }
    assert len(ids) == 4
    assert "6c32e9f13e25" in ids
    assert run_id(compose(["devices=2", "rank_timeout=7"])) == run_id(compose(["devices=2"]))


@pytest.mark.parametrize(
    ("overrides", "started", "words"),
    [
        (["devices=3"], "1", ["batch_size=128", "devices=3", "multiples of 3"]),
        (["devices=0"], "1", ["devices=0", ">= 1"]),
        (["devices=2"], "1", ["devices=2", "torchrun --nproc-per-node 2 -m mixbench train"]),
        (["devices=2"], "4", ["devices=2", "torchrun has started 4 processes", "devices=4"]),
        ([], "2", ["devices=1", "torchrun has started 2 processes", "devices=2"]),
        (["devices=2", "-m", "seed=0,1"], "2", ["a sweep", "torchrun"]),
        (
            ["devices=2", "opt=bgmix", "opt.compute=subset", "opt.ascent=synchronised"],
            "2",
            ["opt.compute=subset", "masked"],
        ),
    ],
)
def test_what_does_not_fit_is_said_before_the_ranks_meet(
    mixbench: Callable, monkeypatch: pytest.MonkeyPatch, overrides: list[str], started: str, words: list[str]
) -> None:
    """Status 2 and one message with the key, what was given and what is allowed."""
    there = {"RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
    for name, value in ({"WORLD_SIZE": started} | there).items():  # as torchrun sets them
        monkeypatch.setenv(name, value)
    refused = mixbench("train", *overrides)
    assert refused.status == 2
    assert all(word in refused.err for word in words), refused.err
    assert "Traceback" not in refused.err
