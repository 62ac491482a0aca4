import json
import shutil
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from datagen.demo.truth_tables import write_truth_dataset
from datagen.errors import UserError
from datagen.training import loop
from datagen.training.config import ModelConfig, OptimConfig, TrainConfig
from datagen.training.data import DataConfig
from datagen.training.loop import TrainingError, schedule, train
from datagen.training.objective import LossConfig

SIZES = ModelConfig(
    image_size=32, vision_width=32, vision_layers=2, vision_heads=2, text_width=32, text_layers=1,
    text_heads=2, embedding=16, vocab_size=400,
)  # fmt: skip


@pytest.fixture
def config(small_world, tmp_path):
    return TrainConfig(
        data=small_world.root, output=str(tmp_path / "run"), model=SIZES, threads=1,
        optim=OptimConfig(learning_rate=1e-3, warmup_steps=2, batch_size=8, epochs=2),
        reader=DataConfig(max_negatives=3), log_every=1, checkpoint_every=2,
    )  # fmt: skip


def metrics(result):
    path = result.model.parent / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def weights(folder):
    return load_file(folder / "model.safetensors")


def test_a_run_learns_logs_every_term_and_leaves_a_model(config):
    long = replace(config, optim=replace(config.optim, epochs=12))
    result = train(long)
    lines = metrics(result)
    assert result.steps == len(lines) == 36
    assert (result.model.parent / "loss.png").stat().st_size > 1000
    assert list((result.model.parent / "tensorboard").iterdir())
    assert lines[-1]["total"] < lines[0]["total"] - 0.3
    assert {"long", "short", "region", "hard", "learning_rate", "logit_scale"} <= lines[0].keys()
    assert (result.model / "tokenizer.json").is_file()


def test_a_finished_run_is_not_repeated(config):
    train(config)
    before = weights(train(config).model)
    again = train(config)
    assert again.steps == 0
    assert all(torch.equal(before[name], value) for name, value in weights(again.model).items())


def test_a_run_that_was_cut_off_ends_with_the_same_weights(config, tmp_path, monkeypatch):
    whole = train(config)
    cut = replace(config, output=str(tmp_path / "cut"))
    step = loop._Run._step

    def dies_at_step_5(self, encoder, pieces, number):
        if number == 4:
            raise KeyboardInterrupt
        return step(self, encoder, pieces, number)

    monkeypatch.setattr(loop._Run, "_step", dies_at_step_5)
    with pytest.raises(KeyboardInterrupt):
        train(cut)
    monkeypatch.undo()
    resumed = train(cut)
    assert resumed.steps == 2  # of 6: the checkpoint of step 4 was used
    first, second = weights(whole.model), weights(resumed.model)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_folder_of_another_configuration_is_refused_with_the_difference(config):
    train(config)
    with pytest.raises(TrainingError, match=r"loss\.region_weight: 0\.1 there, 0\.3 now"):
        train(replace(config, loss=LossConfig(region_weight=0.3)))


def test_a_dataset_smaller_than_a_batch_is_one_batch(config):
    assert train(replace(config, optim=replace(config.optim, batch_size=64))).steps == 2


def test_other_tables_under_the_same_name_are_another_training_set(config, small_world, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(small_world.root, data)
    config = replace(config, data=str(data))
    train(config)
    shutil.rmtree(data)
    write_truth_dataset(str(data), "tiny-test", 24, first=100, shard_size=16)
    with pytest.raises(TrainingError, match=r"tables\.images"):
        train(config)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_images(config):
    wild = replace(config, optim=replace(config.optim, learning_rate=1e30, warmup_steps=0))
    with pytest.raises(TrainingError, match=r"images are [0-9a-f]{32}"):
        train(wild)


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_spoils_the_weights(
    config, monkeypatch
):
    whole = loop.forward_backward

    def overflows(encoder, pieces, *arguments, **options):
        losses = whole(encoder, pieces, *arguments, **options)
        encoder.model.logit_scale.grad.fill_(float("inf"))
        return losses

    monkeypatch.setattr(loop, "forward_backward", overflows)
    with pytest.raises(TrainingError, match=r"norm of the gradient .* images are [0-9a-f]{32}"):
        train(config)


def test_the_global_loss_alone_needs_no_regions(config):
    result = train(replace(config, loss=LossConfig(region_weight=0, hard_weight=0)))
    lines = metrics(result)
    assert {line["region"] for line in lines} == {line["hard"] for line in lines} == {0.0}


def test_a_trained_model_is_the_start_of_another(config, tmp_path):
    first = train(config)
    sizes = ModelConfig(init=str(first.model))
    second = replace(config, model=sizes, output=str(tmp_path / "second"))
    still = replace(second, optim=replace(second.optim, learning_rate=0.0))
    before, after = weights(first.model), weights(train(still).model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_a_frozen_tower_stays_as_it_is(config, tmp_path):
    first = train(config)
    sizes = ModelConfig(init=str(first.model), freeze=("vision",))
    second = train(replace(config, model=sizes, output=str(tmp_path / "second")))
    names = changed(weights(first.model), weights(second.model))
    assert names and not any(name.startswith(("vision", "visual")) for name in names)


def test_adapters_train_resume_and_end_as_plain_weights(config, tmp_path, monkeypatch):
    first = train(config)
    sizes = ModelConfig(init=str(first.model), lora_rank=2)
    base = replace(config, model=sizes)
    result = train(replace(base, output=str(tmp_path / "whole")))
    found = weights(result.model)
    assert found.keys() == weights(first.model).keys()
    names = changed(weights(first.model), found)
    linear = ("_proj.weight", "fc1.weight", "fc2.weight")
    assert names and all(("layers" in n and n.endswith(linear)) or "scale" in n for n in names)
    cut = replace(base, output=str(tmp_path / "cut"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        step = loop._Run._step

        def dies(self, encoder, pieces, number):
            if number == 4:
                raise KeyboardInterrupt
            return step(self, encoder, pieces, number)

        patch.setattr(loop._Run, "_step", dies)
        train(cut)
    assert not changed(found, weights(train(cut).model))


def test_nothing_left_to_train_is_said(config):
    sizes = replace(SIZES, freeze=("vision", "text"))
    with pytest.raises(UserError, match="frozen"):
        train(replace(config, model=sizes))


def test_a_run_is_evaluated_while_it_trains(config):
    seen = []

    def evaluate(encoder):
        seen.append(encoder.encode_texts(["a red mug"], long=False))
        return {"accuracy": 0.5}

    result = train(replace(config, evaluate="somewhere", evaluate_every=4), evaluate)
    scores = [line for line in metrics(result) if "eval/accuracy" in line]
    assert [line["step"] for line in scores] == [4, 6] and len(seen) == 2
    assert not (seen[0] == seen[1]).all()


def test_pieces_and_checkpointing_train_as_a_whole_batch_does(config, tmp_path):
    whole = train(config)
    optim = replace(config.optim, accumulate=3, checkpointing=True)
    pieces = train(replace(config, optim=optim, output=str(tmp_path / "pieces")))
    for one, other in zip(metrics(whole), metrics(pieces), strict=True):
        assert other["total"] == pytest.approx(one["total"], rel=1e-3)


def test_weights_and_biases_is_asked_for_by_name(config):
    with pytest.raises(UserError, match="pip install wandb"):
        train(replace(config, wandb_project="mine"))


class FakeWandb(ModuleType):
    """Keeps what it is given, as the service does; a run without an id gets a new one."""

    def __init__(self):
        super().__init__("wandb")
        self.runs = {}

    def init(self, *, id, **about):
        number = id or f"run-{len(self.runs)}"
        return self.runs.setdefault(number, SimpleNamespace(id=number, about=about, lines=[],
            log=lambda line, step: self.runs[number].lines.append((step, line)),
            finish=lambda: None))  # fmt: skip


def test_weights_and_biases_gets_every_line_and_goes_on_with_its_run(config, monkeypatch):
    wandb = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    config = replace(config, wandb_project="mine")
    result = train(config)
    (run,) = wandb.runs.values()
    assert [line for _, line in run.lines] == metrics(result)
    assert run.about["project"] == "mine"
    assert run.about["config"]["optim"]["learning_rate"] == config.optim.learning_rate
    shutil.rmtree(result.model)
    train(config)  # as after a kill
    assert len(wandb.runs) == 1


def test_plain_clip_is_written_if_asked_for(config):
    result = train(replace(config, clip_model=True))
    plain = weights(result.model.parent / "clip-model")
    assert "text_filip_projection.weight" not in plain and "text_projection.weight" in plain


def test_a_run_killed_between_its_two_models_ends(config, monkeypatch):
    config = replace(config, clip_model=True)
    write = loop._Run._write

    def dies(self, name, *, plain):
        if name == "model":
            raise KeyboardInterrupt
        write(self, name, plain=plain)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop._Run, "_write", dies)
        train(config)
    result = train(config)
    found = weights(result.model)
    plain = weights(result.model.parent / "clip-model")
    assert all(torch.equal(found[name], value) for name, value in plain.items())


def test_the_learning_rate_rises_and_falls():
    rates = [schedule(step, 100, 10) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1
    assert rates[55] == pytest.approx(0.5) and rates[100] == pytest.approx(0)
