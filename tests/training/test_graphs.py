"""Graphs as ordinary runs: the numbers of the cross-validation, every optimizer, what refuses them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_graphs import import_molecules
from torch import Tensor
from whole_runs import assert_same, only_run, result, stopped_after

from mixbench import cli, load_run
from mixbench.augment import NoMix
from mixbench.config import library
from mixbench.config.compose import compose
from mixbench.config.identity import run_dir
from mixbench.data.graphs import load
from mixbench.engine.position import Position
from mixbench.engine.progress import Progress
from mixbench.errors import ConfigError, DataError
from mixbench.models.stacked_gin import GraphStore, StackedGIN
from mixbench.seams import Fed
from mixbench.training.build import build_loop, load_splits
from mixbench.training.folds import objective
from mixbench.training.run import execute
from mixbench.training.unrecorded import epochs

GRAPHS = ["dataset=mutag", "model=gin", "model.width=6", "batch_size=32", "drop_last=false", "epochs=4"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch_geometric")
    folder = tmp_path_factory.mktemp("graphs")
    import_molecules(folder / "source", folder / "data")
    return folder / "data"


def test_a_fold_trains_and_tests_on_its_graphs(root: Path) -> None:
    """Against the files of the folds: labels, and the numbers that the packed graphs carry."""
    found = load("mutag", root)
    for number in (0, 7):
        config = compose([*GRAPHS, f"data_dir={root}", f"dataset.fold={number}", "dataset.val_size=20"])
        splits = load_splits(config, CPU)
        assert splits.val is not None
        test, train = found.folds[number].test, np.sort(found.folds[number].train)
        assert np.array_equal(splits.test.inputs[:, 1], test)
        assert np.array_equal(splits.test.labels, found.labels[test])
        both = np.concatenate([splits.train.inputs[:, 1], splits.val.inputs[:, 1]])
        assert len(splits.val.labels) == 20
        assert np.array_equal(np.sort(both), train)


METHODS = {
    "ERM": [],
    "Mixup": ["augment=mixup", "augment.alpha=0.5"],
    "MixupE": ["augment=mixup", "regularizer=mixupe", "regularizer.eta=0.5", "regularizer.forward=batched"],
}


@pytest.mark.parametrize("method", METHODS)
def test_a_pass_is_that_of_the_cross_validation(
    root: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Oracle: `training.folds` in a stack of one, given the weights, batches, partners and ratios of the loop.

    Losses of all steps and the weights and running statistics after them, without dropout, whose masks are drawn
    otherwise; the test error.
    """
    config = compose(
        [*GRAPHS, "model.dropout=0", "opt=adam", "opt.lr=0.01", f"data_dir={root}", *METHODS[method]]
    )
    loop = build_loop(config, CPU, load_splits(config, CPU))
    graphs = load("mutag", root)
    store = GraphStore(
        features=graphs.features, nodes=graphs.nodes, edges=graphs.edges, source=graphs.source,
        target=graphs.target, labels=graphs.labels, count=graphs.spec.features,
    )  # fmt: skip
    net = StackedGIN([loop.model.net.parameters_of_one()])  # type: ignore[union-attr]
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    weights = torch.tensor([0.5 / 3 if method == "MixupE" else 0.0])  # eta E[1 - lambda] for alpha 1
    fold, keep = torch.from_numpy(graphs.folds[0].train), torch.ones(1, 1, 1, 1)
    batches = iter(loop._order(0))
    step = loop._compute

    def both(fed: Fed, number: Tensor) -> Tensor:
        chosen = fold[next(batches)]
        state = loop._generator.get_state()
        x, *_ = loop._mixed(loop._draw(fed), {})
        loop._generator.set_state(state)
        own = x[:, 0, 0]
        partners = torch.arange(len(chosen))
        if not isinstance(loop.augment, NoMix):
            places = {int(g): i for i, g in enumerate(chosen)}
            partners = torch.tensor([places[int(g)] for g in x[:, 1, 1]])
        _, minimised = objective(
            net, store.batch(chosen[None]), partners[None], own[:1], [keep.expand(1, 1, 1, 2)] * 2, weights
        )
        optimizer.zero_grad()
        minimised.sum().backward()
        optimizer.step()
        found = step(fed, number)
        assert found.item() == pytest.approx(minimised.item(), rel=1e-4)
        return found

    monkeypatch.setattr(loop, "_compute", both)
    with Progress(1, 0, loop.steps, 32, shown=False) as progress:
        assert len(list(loop.run_epoch(Position(), progress))) == 6
    reached = StackedGIN([loop.model.net.parameters_of_one()])  # type: ignore[union-attr]
    for name, value in {**reached.weights, **reached.running}.items():
        expected = {**net.weights, **net.running}[name]
        assert torch.allclose(value, expected, rtol=1e-2, atol=1e-3), name


@pytest.mark.parametrize("opt", library.files("opt"))
def test_every_optimizer_learns_graphs(root: Path, opt: str) -> None:
    """Rings are told from paths by any of them; 51 % is chance."""
    rate = 0.01 if opt.startswith("adam") else 0.005
    radius = ["opt.rho=0.05"] if opt in ("bgmix", "dgmix") else []  # theirs is ten times as large
    method = [f"opt={opt}", f"opt.lr={rate}", "augment=mixup", "model.dropout=0", "epochs=8", *radius]
    *_, (_, row) = epochs(compose([*GRAPHS, f"data_dir={root}", *method]))
    assert row["train_acc_clean"] > 75


def test_a_run_that_was_stopped_ends_with_the_same_bits(mixbench, workplace: Path, root: Path) -> None:
    """Oracle: the run that was never stopped. The finished one predicts and is evaluated on its own graphs."""
    method = [
        *GRAPHS,
        "augment=mixup",
        "regularizer=mixupe",
        "opt=adam",
        f"data_dir={root}",
        "train_mixed_every=1",
    ]
    done = mixbench("train", *method, "output_dir=whole")
    assert done.status == 0
    assert re.search(r"\d training graphs/s", done.out)
    with stopped_after(2):
        execute(compose([*method, "output_dir=cut"]))
    assert mixbench("train", *method, "output_dir=cut").status == 0
    assert_same(result(workplace / "cut"), result(workplace / "whole"))
    run = load_run(only_run(workplace / "cut"))
    test = run.splits().test
    right = run.predict(test.inputs).argmax(1).numpy() == test.labels
    assert 100 * right.mean() == pytest.approx(result(workplace / "cut")[1][-1]["test_acc"])
    assert mixbench("eval", str(run.directory), "--on", "test").status == 0
    refused = mixbench("eval", str(run.directory), "--only", "deformations")
    assert refused.status == 1
    assert "takes inputs of kind image, not graph" in refused.err
    bad = np.array(test.inputs)
    bad[3, 2] = 0
    with pytest.raises(DataError, match="row 3 is none"):
        run.predict(bad)


def test_another_text_under_the_same_name_is_other_data(
    mixbench, workplace: Path, tmp_path: Path, root: Path
) -> None:
    """A finished run is not shown for a set that was imported from another file."""
    method = [*GRAPHS, "epochs=1", "output_dir=out"]
    assert mixbench("train", *method, f"data_dir={root}").status == 0
    import_molecules(tmp_path / "other", tmp_path / "data", seed=1)
    again = mixbench("train", *method, f"data_dir={tmp_path / 'data'}")
    assert again.status == DataError.exit_status
    assert "was trained on other data" in again.err


@pytest.mark.parametrize("augment", sorted(set(library.files("augment")) - {"none", "mixup"}))
def test_what_mixes_inputs_refuses_graphs(augment: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose([*GRAPHS, f"augment={augment}"])
    assert f"augment={augment}: takes inputs of kind image" in str(error.value)
    assert "those of mutag are of kind graph. Allowed: mixup, none." in str(error.value)


def test_the_weights_of_a_graph_run_are_exported(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A state dict needs no inputs: the command writes it, bit for bit the run's weights; programs are refused, with
    the reason and what is allowed.
    """
    monkeypatch.chdir(tmp_path)
    config = compose([*GRAPHS, "epochs=1", f"data_dir={root}"])
    execute(config)
    run = str(run_dir(config))
    assert cli.run(["export", run, "--format", "state_dict"]) == 0
    assert "its tensors are those of the network, bit for bit" in capsys.readouterr().out
    found = torch.load(Path(run) / "model.state_dict.pt", weights_only=True)
    saved = load_file(Path(run) / "model.safetensors")
    assert found.keys() == saved.keys()
    assert all(torch.equal(found[name], saved[name]) for name in saved)
    for form in ("onnx", "torchscript"):
        assert cli.run(["export", run, "--format", form]) == 2
        said = capsys.readouterr().err
        assert f"mixbench export: --format {form}: {run} has graphs as inputs, of all sizes" in said
        assert "allowed: state_dict" in said
