"""Records as the verbs write them, made up here, for tests of what reads them."""

import dataclasses

from jeat_tf.attacks.gradient_masking import Masking
from jeat_tf.core.provenance import Provenance
from jeat_tf.core.records import Record
from jeat_tf.methods.accounting import Passes
from jeat_tf.methods.guard_files import GuardEvent
from jeat_tf.metrics.chain_diagnostics import ChainDiagnosis
from jeat_tf.metrics.fisher import FisherScore
from jeat_tf.metrics.ood import Detection
from jeat_tf.metrics.protocol import Protocol
from jeat_tf.runs.generation_results import Compared, GenerationResults, ImageScores, NearestTrainingImages, Score
from jeat_tf.runs.results import (
    AttackResults,
    AttackRow,
    CalibrationBins,
    CalibrationResults,
    FisherResults,
    FisherUnits,
    OodResults,
    Subject,
)
from jeat_tf.runs.sample_results import Diagnostics, Drawn, Judgement, Rating, SampleIdentity, SampleResults
from jeat_tf.runs.training import Training, Watch

MADE = Provenance(
    command="python -m jeat_tf.train", jeat_tf="0.1.0", tensorflow="2.21.0", keras="3.15.1", python="3.11.7",
    platform="Linux", cpus=2, gpus=(),
)  # fmt: skip
SUBJECT = Subject(
    model="/runs/net.keras", model_sha256="m", weights_sha256="w", dataset="digits", images="images 0 to 49",
    data_sha256="d" * 64, seed=0, date="2026-01-02", provenance=MADE,
)  # fmt: skip


def training(
    weights: str = "w", steps: int = 100, events: tuple[GuardEvent, ...] = (), dataset: str = "digits"
) -> Training:
    return Training(
        parameters=1000,
        passes_per_step=Passes(3.0, 1.0, 1.0),
        forward_flops_per_image=1e6,
        flops_per_step=2e9,
        activation_bytes=0,
        buffer_bytes=0,
        method="jeat",
        seed=0,
        steps=steps,
        logs={},
        weights_sha256=weights,
        dataset=dataset,
        guard=Watch(mode="recover", events=tuple(events)),
        date="2026-01-02",
        provenance=MADE,
        seconds=50.0,
        seconds_per_step=0.5,
    )


def row(attack: str, correct: int, epsilon: float = 0.1, protocol: str = "20 steps") -> AttackRow:
    """A row about 50 images."""
    return AttackRow(
        attack=attack, epsilon=epsilon, accuracy=correct / 50, interval_95=(0.0, 1.0), correct=correct, images=50,
        protocol=protocol, in_ball=None if attack == "clean" else True, epsilon_text=f"{epsilon:g}",
    )  # fmt: skip


def attack_results(rows: tuple[AttackRow, ...], *, masking: Masking | None = None, **subject: str) -> AttackResults:
    """An evaluation with these rows."""
    return AttackResults(
        **vars(dataclasses.replace(SUBJECT, **subject)), batch_size=50, gradients="float32", samples=1, refine_steps=0,
        norm="linf", adaptive=False, expectation_over_transformation="none", shards=1, results=rows,
        gradient_masking=masking,
    )  # fmt: skip


def image_scores(fid: float, selection: str = "none") -> ImageScores:
    """Scores of 10 images through the Inception net."""
    protocol = Protocol(
        n=10, classes="balanced", samples="fresh chains", selection=selection, start="uniform",
        stages=("sgld:steps=10",), steps=10, seed=0, generator_sha256="w", reference_data="digits",
        reference_split="train", reference_count=10, feature_net="Inception", feature_kind="inception-2015",
        feature_sha256="f" * 64, resize="none", splits=10,
    )  # fmt: skip
    return ImageScores(
        scores={"inception_score": Score(mean=8.5, std=0.1), "fid": Score(mean=fid), "kid": Score(mean=0.5)},
        precision=0.25, recall=0.5, density=1.5, coverage=0.75,
        compared=Compared(images=10, reference=10, selection="all"),
        nearest_training_images=NearestTrainingImages(generated=10, training=10), protocol=protocol,
    )  # fmt: skip


def density_results(other: str = "uniform") -> dict[str, Record]:
    """What `evaluate` writes beside attacks, by file; `other` is the set of other images."""
    subject = vars(SUBJECT)
    fisher = FisherScore(2.0, 3.0, 5.0, 0.1, 0.1, 0.1, 0.0)
    terms = FisherUnits(pixels=fisher, symmetric=fisher.symmetric())
    bins = CalibrationBins(edges=(0.0, 1.0), bin_confidence=(0.5,), bin_accuracy=(0.5,), bin_count=(50,))
    return {
        "calibration.json": CalibrationResults(
            **subject, accuracy=0.5, nll=0.125, brier=0.125, ece=0.125, adaptive_ece=0.125, max_error=0.125, bins=bins,
            protocol="15 bins",
        ),
        "ood.json": OodResults(
            **subject, detection={other: {"log_density": Detection(0.75, 0.5, 0.5, 0.5)}}, num_outside={other: 50},
            scores={"log_density": "p"}, protocol="higher is more alike",
        ),
        "fisher.json": FisherResults(
            **subject, joint=terms, marginal=terms, num_images=5, trace="exact", protocol="means"
        ),
        "generation.json": GenerationResults(
            **subject, fresh_chains=image_scores(38.0),
            real_images=image_scores(3.5, "none; real images of the split test"),
        ),
    }  # fmt: skip


def rating(agreement: float, distance: float, others: float | None = None) -> Rating:
    """A judge's rating, of ten classes."""
    return Rating(
        agreement=agreement, agreement_of_each_class=(agreement,) * 10, share_of_each_class=(0.1,) * 10,
        frechet_classifier_distance=distance, precision=others, recall=others, saturated=others,
        copies_of_each_other=others, copies_of_real=others,
    )  # fmt: skip


HOW = Drawn(
    classes="balanced", recipe="", rule="", start="uniform", start_images="", stages=("sgld:steps=20",), steps=20,
    seed=0, batch_size=50, format="npz", shard_size=50, readings=2,
)  # fmt: skip


def sample_identity(num: int, seed: int = 0) -> SampleIdentity:
    """What a folder of samples says of them."""
    how = dataclasses.replace(HOW, seed=seed)
    return SampleIdentity(**vars(how), weights_sha256="w", dataset="digits", num=num)


def sample_results(of_samples: Rating, of_start: Rating, of_real: Rating, num: int = 100) -> SampleResults:
    """What `sample` writes, with a judge."""
    nothing = dict.fromkeys(field.name for field in dataclasses.fields(ChainDiagnosis))
    counts = {"chains": num, "chains_not_finite": 0, "readings": 2}
    found = Diagnostics(
        **nothing | counts,
        finite=True,
        share_classified_as_asked_by_the_net_itself=1.0,
        looks=None,
        trace={},
        accepted={},
    )
    judge = Judgement(
        **vars(of_samples),
        net="judge.keras",
        weights_sha256="j" * 64,
        reference="1260 training images",
        start_alone=of_start,
        real_images=of_real,
    )
    return SampleResults(
        model="/runs/net.keras", model_sha256="m", weights_sha256="w", dataset="digits", num=num, protocol=HOW,
        seconds=1.0, cpu_seconds=1.0, seconds_per_image=None, date="2026-01-02", provenance=MADE, diagnostics=found,
        judge=judge,
    )  # fmt: skip
