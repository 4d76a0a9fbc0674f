"""The command line: what it answers, how fast, and what it says about mistakes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mixbench.cli import main

QUICK = ("epochs=1", "dataset.train_size=200", "dataset.test_size=50", "batch_size=50")


def python(code: str, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, **kwargs)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["methods"], ["data", "--help"], ["eval", "--help"], ["export", "--help"], ["trian"]],
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    """Oracle: sys.modules of a fresh process after the command."""
    code = (
        "import sys; from mixbench.cli import run\n"
        f"try: run({arguments})\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'torchvision', 'sklearn', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_of_any_command_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """By hand: what was kept and how to go on, without a traceback; 130, as a shell has it."""

    def interrupted(argv: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("mixbench.commands.methods.main", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["methods"])
    assert ended.value.code == 130
    told = "mixbench: stopped by Ctrl-C: what was complete is kept; the same command goes on from there.\n"
    assert capsys.readouterr().err == told


def test_windows_is_refused_in_one_sentence() -> None:
    """As Python is there: no fcntl, resource, SIGHUP and SIGUSR1. Its own modules are imported as they are here."""
    code = (
        "import signal, sys, tempfile; sys.platform = 'win32'; sys.modules['fcntl'] = sys.modules['resource'] = None\n"
        "del signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.pthread_sigmask\n"
        "from mixbench.cli import main; main(['--help'])"
    )
    done = python(code)
    assert done.returncode == 2
    assert done.stderr.startswith("mixbench: does not run on Windows")
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout


def test_help_is_quick() -> None:
    """`mixbench --help` takes under half a second of processor time, process start included."""
    before = os.times()
    done = subprocess.run([sys.executable, "-m", "mixbench", "--help"], capture_output=True, text=True)
    after = os.times()
    assert done.returncode == 0
    assert "train" in done.stdout
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent < 0.5


MISTAKES = {
    "command": (["trian"], ["no command 'trian'", "Did you mean 'train'", "methods"]),
    "option": (["train", "augment=gmx"], ["augment=gmx", "Did you mean 'gmix'", "cutmix"]),
    "option by long name": (["train", "augmenter=gmx"], ["augment=gmx", "Did you mean 'gmix'"]),
    "key": (["train", "opt=sam", "opt.rhoo=1"], ["opt.rhoo=1", "Did you mean 'rho'", "momentum"]),
    "part key": (["train", "ema.decy=0.9"], ["ema.decy=0.9", "Did you mean 'decay'", "Keys of ema: decay"]),
    "top key": (["train", "epoch=3"], ["epoch=3", "Did you mean 'epochs'"]),
    "group key": (["train", "augmnt.alpha=1"], ["augmnt.alpha=1", "Did you mean 'augment'"]),
    "foreign knob": (["train", "augment=mixup", "augment.r=0.5"], ["augment.r=0.5", "mixup", "alpha"]),
    "type float": (["train", "opt.lr=fast"], ["opt.lr=fast", "a number", "> 0"]),
    "type int": (["train", "epochs=many"], ["epochs=many", "a whole number", ">= 1"]),
    "type bool": (["train", "compile=7.5"], ["compile=7.5", "true or false"]),
    "no value": (["train", "gmix"], ["gmix", "key=value"]),
    "alpha zero": (["train", "augment=mixup", "augment.alpha=0"], ["augment.alpha=0", "> 0"]),
    "alpha nan": (["train", "augment=mixup", "augment.alpha=nan"], ["augment.alpha=nan", "> 0"]),
    "alpha inf": (["train", "augment=mixup", "augment.alpha=inf"], ["augment.alpha=inf", "finite"]),
    "r": (["train", "augment=hmix", "augment.r=1.5"], ["augment.r=1.5", ">= 0 and <= 1"]),
    "rho": (["train", "opt=sam", "opt.rho=-0.1"], ["opt.rho=-0.1", ">= 0"]),
    "epochs": (["train", "epochs=0"], ["epochs=0", ">= 1"]),
    "null": (["train", "epochs=null"], ["epochs=null", "a whole number"]),
    "choice": (["train", "precision=bf61"], ["precision=bf61", "Did you mean 'bf16'", "float32"]),
    "variant": (
        ["train", "augment=gmix", "augment.variant=papr"],
        ["augment.variant=papr", "'paper'", "official"],
    ),
    "batch": (
        ["train", "batch_size=5000"],
        ["batch_size=5000", "1438 training examples of digits", "1 to 1438, or any with drop_last=false"],
    ),
    "small image": (["train", "model.stem_stride=2"], ["16 pixels", "model.stem_stride=2", "digits have 8"]),
    "depth": (["train", "model=wrn16_4", "model.depth=17"], ["model.depth=17", "6n + 4"]),
    "conflict": (
        ["train", "augment=manifold_mixup", "opt=bgmix", "opt.compute=subset"],
        ["opt.compute=subset", "manifold_mixup", "masked"],
    ),
    "conflict of a loss": (
        ["train", "regularizer=mixupe", "regularizer.variant=exact", "opt=dgmix", "opt.decompose=logit"],
        ["opt.decompose=logit", "regularizer.variant=exact", "gradient"],
    ),
    "fixed name": (["train", "augment.name=mixup"], ["augment.name=mixup", "augment=NAME"]),
    "unknown data": (["train", "dataset.name=cifar"], ["dataset.name=cifar", "Did you mean 'cifar10'"]),
    "several values": (["train", "seed=0,1"], ["seed=0,1", "-m"]),
    "sweep cell": (["train", "-m", "epochs=1,0"], ["epochs=0", ">= 1"]),
    "config of a sweep": (["train", "-m", "--cfg", "job"], ["--cfg", "one run", "--multirun"]),
    "two questions": (["train", "--cfg", "job", "--info", "all"], ["--cfg", "asked alone", "--info"]),
    "jobs twice": (["train", "-m", "seed=0,1", "--jobs", "2", "--jobs=3"], ["--jobs: is given twice"]),
    "column twice": (["runs", "--columns", "id,id"], ["--columns id,id", "twice"]),
    "not from a shell": (["-sc", "query=tcsh"], ["-sc query=tcsh", "is for the shell"]),
    "nothing from a shell": (["train", "-sc"], ["is for the shell"]),
    "no line from a shell": (["train", "-sc", "query=bash"], ["is for the shell"]),
    "a home that is none": (["train", "output_dir='~nobodyhere/x'"], ["~nobodyhere is nobody's home"]),
    "methods name": (["methods", "gmx"], ["gmx", "gmix"]),
    "data name": (["data", "prepare", "cifar"], ["cifar", "cifar10"]),
    "subset": (["train", "dataset.train_size=5000"], ["dataset.train_size=5000", "1438"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_said_in_one_message(mixbench, mistake: str) -> None:
    """Exit status 2, the key, what was given, what is allowed; no traceback; nothing left behind."""
    arguments, expected = MISTAKES[mistake]
    result = mixbench(*arguments)
    assert result.status == 2, result.err
    for words in expected:
        assert words in result.err
    assert "Traceback" not in result.err + result.out
    assert not list(Path().rglob("outputs/**/summary.json"))


ENVIRONMENTS = {
    "home": ({"MIXBENCH_DATA": "~nobodyhere/x"}, ["~nobodyhere is nobody's home folder"]),
    "size": ({"WORLD_SIZE": "abc"}, ["WORLD_SIZE=abc", "is set by torchrun"]),
    "endless size": ({"WORLD_SIZE": "9" * 5000}, ["is set by torchrun"]),
    "no size": ({"WORLD_SIZE": "0"}, ["WORLD_SIZE=0", "is set by torchrun"]),
    "no rank": ({"WORLD_SIZE": "2"}, ["WORLD_SIZE=2", "RANK", "MASTER_PORT"]),
}


@pytest.mark.parametrize("sweep", [(), ("-m", "seed=0,1")])
@pytest.mark.parametrize("kind", ENVIRONMENTS)
def test_a_mistake_in_the_environment(mixbench, monkeypatch, kind: str, sweep: tuple) -> None:
    """Exit status 2, the variable; nothing begun."""
    variables, expected = ENVIRONMENTS[kind]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    result = mixbench("train", *QUICK, *sweep)
    assert result.status == 2, result.err
    for words in expected:
        assert words in result.err
    assert "Traceback" not in result.err
    assert not Path("outputs").exists()


@pytest.mark.parametrize("together", [(), ("--jobs", "2")])
def test_a_sweep_into_a_file(mixbench, workplace: Path, together: tuple) -> None:
    """A folder that cannot be made is named once, before anything is started."""
    (workplace / "outputs").write_text("")
    result = mixbench("train", *QUICK, "-m", "seed=0,1", *together)
    assert result.status == 2, result.err
    assert result.err.startswith("mixbench train: cannot write outputs")
    assert len(result.err.splitlines()) == 1


def test_a_mistake_is_found_before_torch_is_imported() -> None:
    """Oracle: sys.modules of a fresh process after the message."""
    code = (
        "import sys; from mixbench.cli import run\n"
        "assert run(['train', 'augment=mixup', 'augment.alpha=-1']) == 2\n"
        "assert 'torch' not in sys.modules"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_a_missing_cuda_device_is_named(mixbench) -> None:
    """A device that is not there: status 2 and the devices that are."""
    result = mixbench("train", "device=cuda:63", *QUICK)
    assert result.status == 2
    assert "device=cuda:63" in result.err
    assert "cpu" in result.err


def test_what_the_terminal_cannot_show_is_escaped(monkeypatch) -> None:
    """Oracle: Python's own escape for a letter beyond ASCII, on both streams; no UnicodeEncodeError."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    with pytest.raises(SystemExit):
        main(["Größe"])
    err.flush()
    assert b"no command 'Gr\\xf6\\xdfe'" in err.buffer.getvalue()
    print("Größe", file=out, flush=True)
    assert out.buffer.getvalue().endswith(b"Gr\\xf6\\xdfe\n")


def test_long_names_mean_the_same_run(mixbench) -> None:
    """`augmenter=` and `optimizer=` compose to the config that `augment=` and `opt=` compose to."""
    short = mixbench("train", "augment=gmix", "opt=sam", "opt.rho=0.1", "--cfg", "job")
    long = mixbench("train", "augmenter=gmix", "optimizer=sam", "optimizer.rho=0.1", "--cfg", "job")
    assert short.status == long.status == 0
    assert "rho: 0.1" in short.out
    assert short.out == long.out


def test_own_groups_from_another_folder(mixbench, workplace: Path) -> None:
    """`--config-dir` adds a user's option file, and typing holds for it as well."""
    (workplace / "mine" / "augment").mkdir(parents=True)
    (workplace / "mine" / "augment" / "soft.yaml").write_text("defaults: [mixup, _self_]\nalpha: 0.125\n")
    result = mixbench("train", "augment=soft", "--config-dir", "mine", "--cfg", "job")
    assert result.status == 0, result.err
    assert "alpha: 0.125" in result.out
    assert "name: mixup" in result.out
    assert mixbench("train", "augment=soft", "augment.alpha=-1", "--config-dir", "mine").status == 2


def complete(line: str) -> list[str]:
    environment = {**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))}
    done = subprocess.run(
        [sys.executable, "-m", "mixbench", "-sc", "query=bash"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_completion_under_the_subcommand() -> None:
    """What bash is offered for a line: subcommands, groups, options, knobs."""
    assert complete("mixbench tr") == ["train"]
    assert "augment=" in complete("mixbench train augm")
    assert "augment=gmix" in complete("mixbench train augment=g")
    assert complete("mixbench train opt=sam opt.rh") == ["opt.rho="]


def test_the_first_lines_tell_gmix_from_g_mix(mixbench) -> None:
    """`augment=gmix` says Gaussian Mixup; the run's record is where the last line says."""
    result = mixbench("train", "augment=gmix", "opt=sam", *QUICK)
    assert result.status == 0, result.err
    assert "Gaussian Mixup" in result.out.splitlines()[1]
    directory = Path(result.out.strip().splitlines()[-1].split()[-1])
    assert json.loads((directory / "summary.json").read_text())["state"] == "finished"
    assert directory.parts[:4] == ("outputs", "digits", "small_cnn", "gmix-sam")


def test_the_first_lines_name_the_method_and_what_is_not_its_own(mixbench) -> None:
    """Oracle: Li & Tang's name for these options; by hand the values given, and the seed, which is always told."""
    lines = mixbench(
        "train", "augment=mixup", "opt=sam", "opt.rho=0.3", "opt.lr=0.1", *QUICK
    ).out.splitlines()
    assert lines[1] == "method   G-Mix (Li & Tang 2025)"
    (values,) = [line for line in lines if line.startswith("values ")]
    given = "dataset.train_size=200 dataset.test_size=50 opt.rho=0.3 seed=0 epochs=1 batch_size=50"
    assert values == f"values   {given}"


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("lr=0.1", "opt.lr"),
        ("train_size=300", "dataset.train_size"),
        ("alpha=1", "augment.alpha"),
        ("epoch=3", "epochs"),
    ],
)
def test_a_key_of_an_option_is_pointed_to(mixbench, override: str, wanted: str) -> None:
    """A key that only an option has: the message names the option's group."""
    result = mixbench("train", "augment=mixup", override)
    assert result.status == 2
    assert f"{override}: no such key. Did you mean '{wanted}'?" in result.err


def test_help_has_the_keys_of_the_chosen_options(mixbench) -> None:
    """Each key with its default; of the options that the command line chooses, else of the default ones."""
    chosen = mixbench("train", "opt=sam", "model=wrn16_4", "--help").out
    assert "keys of opt=sam:" in chosen
    assert "opt.rho " in chosen
    assert "model.depth " in chosen
    assert "keys of opt=sgd:" in mixbench("train", "--help").out
    assert "opt=sm: no such option. Did you mean 'sam'?" in mixbench("train", "opt=sm", "--help").err


def test_a_device_that_is_not_there_leaves_nothing(mixbench) -> None:
    """Neither a run's directory, nor a sweep's."""
    for command in (["device=cuda:77"], ["-m", "device=cuda:77", "seed=0,1"]):
        result = mixbench("train", *command, *QUICK)
        assert result.status == 2
        assert "device=cuda:77: not on this machine. Allowed here: auto, cpu" in result.err
    assert not list(Path("outputs").rglob("*summary.json"))
    assert not Path("outputs/digits").exists()


def test_a_finished_run_is_reported_and_force_starts_over(mixbench) -> None:
    """Second time: the same table, without training. force=true: the old directory is kept under another name."""
    first = mixbench("train", *QUICK)
    again = mixbench("train", *QUICK)
    assert again.status == 0
    assert "finished" in again.out
    assert first.out.strip().splitlines()[-6:] == again.out.strip().splitlines()[-6:]
    forced = mixbench("train", "force=true", *QUICK)
    assert forced.status == 0
    assert len(list(Path("outputs").rglob("summary.json"))) == 2
    assert len(list(Path("outputs").rglob("*.old1"))) == 1
