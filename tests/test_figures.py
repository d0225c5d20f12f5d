import ast
import pathlib

import matplotlib
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from jeat_tf.core.balls import L2, Linf
from jeat_tf.core.energy import energy
from jeat_tf.core.loops import input_gradient
from jeat_tf.figures.chains import GradientNorms, draw_gradient_norms, gradient_norms, paired_samples
from jeat_tf.figures.class_grids import class_grid, draw_class_grid
from jeat_tf.figures.curves import draw_robustness_curves, draw_training_curves
from jeat_tf.figures.energy_changes import ChangesByEpoch, changes_by_epoch, draw_energy_changes
from jeat_tf.figures.files import save_figure
from jeat_tf.figures.heat_maps import draw_heat_maps
from jeat_tf.figures.histograms import draw_score_histograms
from jeat_tf.figures.landscape import Landscape, draw_energy_contours, energy_contours
from jeat_tf.figures.neighbour_rows import draw_neighbours, neighbours
from jeat_tf.figures.reliability import ReliabilityBins, draw_reliability
from jeat_tf.figures.style import DARK
from jeat_tf.methods.energy_changes import EnergyRecord
from jeat_tf.metrics.confidence import calibration
from jeat_tf.samplers.start_layer import uniform
from jeat_tf.samplers.values import SGLD
from jeat_tf.samplers.walks import langevin
from tests.conftest import linear_net, seed, tiny_cnn

X = np.random.default_rng(0).random((32, 8, 8, 1), np.float32)
LABELS = np.arange(32) % 10
NAMES = ["a rather long name of a method", "jeat", "jem"]


def contours(nets=None, image=X[0], label=3, **kwargs):
    settings = {"radius": 2.0, "num_points": 5, "seed": seed()} | kwargs
    return energy_contours({"net": linear_net()} if nets is None else nets, image, label, **settings)


class TestContours:
    def test_of_a_linear_net_are_a_plane(self):
        net = linear_net()
        kernel = net.layers[-1].kernel.numpy()[:, 3]
        shown = contours({"net": net})
        slopes = -shown.directions.reshape(2, -1) @ kernel
        expected = energy(net(X[:1]), [3]).numpy() + shown.offsets * slopes[0] + shown.offsets[:, None] * slopes[1]
        np.testing.assert_allclose(shown.joint_energy[0], expected, atol=1e-5)

    def test_have_the_image_in_the_middle_and_a_net_a_layer(self):
        nets = {"dense": linear_net(), "cnn": tiny_cnn()}
        shown = contours(nets)
        assert shown.joint_energy.shape == shown.marginal_energy.shape == (2, 5, 5)
        assert list(shown.nets) == ["dense", "cnn"]
        np.testing.assert_array_equal(shown.offsets, [-2, -1, 0, 1, 2])
        for m, net in enumerate(nets.values()):
            np.testing.assert_allclose(shown.joint_energy[m, 2, 2], energy(net(X[:1]), [3])[0], atol=1e-5)
            np.testing.assert_allclose(shown.marginal_energy[m, 2, 2], energy(net(X[:1]))[0], atol=1e-5)

    def test_directions_are_orthogonal_of_length_one_and_of_the_seed(self):
        directions = contours().directions.reshape(2, -1)
        np.testing.assert_allclose(directions @ directions.T, np.eye(2), atol=1e-6)
        np.testing.assert_array_equal(contours().directions.reshape(2, -1), directions)
        assert np.abs(contours(seed=seed(1)).directions.reshape(2, -1) - directions).max() > 0.01

    def test_show_their_image_and_its_class_in_a_corner_of_the_first_panel(self):
        figure = draw_energy_contours(contours({"a": linear_net(), "b": linear_net()}), image=X[0], name="class 3")
        (corner,) = figure.axes[0].child_axes
        np.testing.assert_array_equal(corner.images[0].get_array(), X[0, ..., 0])
        assert corner.get_xlabel() == "class 3"
        assert not figure.axes[1].child_axes

    @pytest.mark.parametrize(
        ("kwargs", "message"),
        [
            ({"nets": {}}, "at least one net"),
            ({"label": 10}, r"label in \[0, 10\), received 10"),
            ({"radius": 0.0}, "radius > 0"),
            ({"num_points": 4}, "odd num_points >= 3.*received 4"),
            ({"num_points": 1}, "odd num_points >= 3.*received 1"),
            ({"image": X[:1]}, r"one image .*received shape \[1, 8, 8, 1\]"),
        ],
    )
    def test_bad_arguments_are_named(self, kwargs, message):
        with pytest.raises(ValueError, match=message):
            contours(**kwargs)


class TestPairedSamples:
    def test_differ_after_a_step_by_the_gradient_of_the_marginal_energy(self):
        net = tiny_cnn()
        sampler = SGLD(1, step_size=0.5, noise_std=0.1, clip_pixels=False)
        images = paired_samples(net, LABELS, start=uniform((8, 8, 1)), sampler=sampler, seed=seed())
        gradient = input_gradient(lambda x: energy(net(x)), images["start"])
        np.testing.assert_allclose(images["E(x, y) - E(x)"] - images["E(x, y)"], 0.5 * gradient, atol=1e-6)
        assert np.abs(images["E(x, y)"] - images["start"]).max() > 0.1

    def test_of_no_steps_are_the_starts(self):
        sampler = SGLD(0, step_size=0.5, noise_std=0.1, clip_pixels=False)
        images = paired_samples(tiny_cnn(), LABELS, start=uniform((8, 8, 1)), sampler=sampler, seed=seed())
        assert list(images) == ["start", "E(x, y) - E(x)", "E(x, y)"]
        for array in images.values():
            np.testing.assert_array_equal(array, images["start"])


class TestGradientNorms:
    def norms(self, nets, **kwargs):
        settings = {
            "start": uniform((8, 8, 1)),
            "walk": langevin(step_size=0.25, noise_std=0.01),
            "num_steps": 4,
            "every": 2,
            "seed": seed(),
        }
        return gradient_norms(nets, LABELS, **settings | kwargs)

    def test_of_a_linear_net_are_those_of_its_kernel_at_any_step(self):
        net = linear_net()
        kernel = net.layers[-1].kernel.numpy()
        norms = self.norms({"net": net})
        np.testing.assert_array_equal(norms.step, [0, 2, 4])
        expected = np.broadcast_to(np.linalg.norm(kernel, axis=0)[LABELS], (3, 32))
        np.testing.assert_allclose(norms.joint[0], expected, rtol=1e-5)
        # The gradient of the marginal energy is a mean of the kernel's columns.
        assert norms.marginal.max() < np.linalg.norm(kernel, axis=0).max()

    def test_are_read_along_the_chain_that_runs_uncut(self):
        net = tiny_cnn()
        often, seldom = self.norms({"net": net}, every=1), self.norms({"net": net}, every=4)
        np.testing.assert_allclose(often.marginal[:, ::4], seldom.marginal, rtol=1e-5)
        assert np.abs(often.marginal[:, 0] - often.marginal[:, 1]).max() > 1e-4

    def test_a_net_has_the_same_norms_beside_any_other(self):
        nets = {"a": tiny_cnn(), "b": linear_net()}
        both, alone = self.norms(nets), self.norms({"b": nets["b"]})
        np.testing.assert_array_equal(both.joint[1], alone.joint[0])

    @pytest.mark.parametrize("kwargs", [{"every": 3}, {"every": 0}, {"num_steps": 0}])
    def test_readings_that_miss_the_end_are_refused(self, kwargs):
        with pytest.raises(ValueError, match="num_steps, a multiple of every"):
            self.norms({}, **kwargs)


class TestClassGrid:
    def test_a_row_is_the_first_images_of_its_class(self):
        shown = class_grid({"a": X, "b": 1 - X}, LABELS, per_class=3, class_names=[f"class {k}" for k in range(10)])
        assert shown.images.shape == (2, 10, 3, 8, 8, 1)
        np.testing.assert_array_equal(shown.images[0, 4], X[[4, 14, 24]])
        np.testing.assert_array_equal(shown.images[1], 1 - shown.images[0])
        assert list(shown.methods) == ["a", "b"]
        assert shown.classes[4] == "class 4"

    def test_shows_the_classes_asked_for(self):
        shown = class_grid({"a": X}, LABELS, per_class=2, classes=[7, 1])
        np.testing.assert_array_equal(shown.images[0], [X[[7, 17]], X[[1, 11]]])
        assert list(shown.classes) == ["7", "1"]

    @pytest.mark.parametrize(
        ("images", "labels", "message"),
        [
            ({}, LABELS, "by every method"),
            ({"a": X, "b": X[1:]}, LABELS, "one shape by every method"),
            ({"a": X}, LABELS[1:], "and 31 labels"),
            ({"a": X}, LABELS, "expected 4 images of class 2, received 3"),
        ],
    )
    def test_bad_arguments_are_named(self, images, labels, message):
        with pytest.raises(ValueError, match=message):
            class_grid(images, labels, per_class=4)


class TestNeighbours:
    def test_are_the_training_images_of_the_indices(self):
        indices = np.array([[3, 1], [0, 5]])
        shown = neighbours(X[:2], X, indices=indices, distances=np.ones((2, 2)))
        np.testing.assert_array_equal(shown.neighbours[1, 1], X[5])

    @pytest.mark.parametrize(
        ("images", "indices", "message"),
        [
            (X[:2, :4], np.zeros((2, 2), int), r"shape \[8, 8, 1\], received \[4, 8, 1\]"),
            (X[:2], np.zeros((3, 2), int), r"\[2, k\], received \[3, 2\]"),
            (X[:2], np.array([[0, 1], [2, 32]]), "received 0 to 32"),
            (X[:2], np.array([[0, -1], [2, 3]]), "received -1 to 3"),
        ],
    )
    def test_bad_arguments_are_named(self, images, indices, message):
        with pytest.raises(ValueError, match=message):
            neighbours(images, X, indices=indices, distances=np.zeros(indices.shape))


def test_changes_by_epoch_are_over_records_and_images():
    values = np.array([[1.0, 3.0], [5.0, 7.0], [2.0, 2.0]], np.float32)
    by_epoch = changes_by_epoch(EnergyRecord(np.array([1, 1, 3]), np.array([0, 1, 9]), *[values] * 3, -values))
    np.testing.assert_array_equal(by_epoch.epoch, [1, 3])
    np.testing.assert_allclose(by_epoch.mean, [[4, 2]] * 3 + [[-4, -2]])
    np.testing.assert_allclose(by_epoch.std, [[np.sqrt(5), 0]] * 4)
    with pytest.raises(ValueError, match="at least one step"):
        changes_by_epoch(EnergyRecord(np.zeros(0), np.zeros(0), *[np.zeros((0, 2))] * 4))


BINS = ReliabilityBins(np.array([np.nan, 0.5, 0.9]), np.array([np.nan, 0.75, 1.0]), np.array([0, 4, 16]))


def test_reliability_names_the_calibration_error_and_leaves_empty_bins_out():
    figure = draw_reliability({"jeat": BINS})
    diagonal, text = figure.legends[0].get_texts()
    assert diagonal.get_text() == "calibrated"
    assert text.get_text() == "jeat (ECE 13.0%)"  # (4 * 0.25 + 16 * 0.1) / 20
    line = figure.axes[0].get_lines()[1]
    np.testing.assert_array_equal(line.get_xydata(), [[0.5, 0.75], [0.9, 1.0]])
    with pytest.raises(ValueError, match="received none for jeat"):
        draw_reliability({"jeat": BINS._replace(num_images=np.zeros(3, int))})


def test_reliability_is_drawn_with_the_error_of_calibration():
    logits = np.random.default_rng(0).normal(size=(200, 10))
    found = calibration(logits, np.arange(200) % 10)
    bins = ReliabilityBins(found.bin_confidence, found.bin_accuracy, found.bin_count)
    _, text = draw_reliability({"jeat": bins}).legends[0].get_texts()
    assert text.get_text() == f"jeat (ECE {found.ece:.1%})"


COUNTS = {"inside": np.array([1, 2, 1]), "outside": np.array([0, 0, 30])}


@pytest.mark.parametrize(("page", "bright"), [({}, False), (DARK, True)], ids=["light", "dark"])
def test_empty_cells_of_a_table_have_nearly_the_colour_of_the_page(page, bright):
    with matplotlib.rc_context(page):
        figure = draw_heat_maps({"pgd": np.array([[0.0, 100.0]])}, ["a"], ["b", "c"], down="class", across="taken for")
        (image,), empty, full = figure.axes[0].images, *figure.axes[0].texts
        little, much = (np.mean(image.cmap(image.norm(number))[:3]) for number in (0, 100))
        assert (little < 0.25, much > 0.75) == (bright, bright)
        assert (empty.get_color(), full.get_color()) == (("white", "black") if bright else ("black", "white"))


def test_histograms_are_shares_of_each_set():
    figure = draw_score_histograms(np.arange(4), COUNTS, score="log p(x)")
    drawn = [patch.get_data().values for patch in figure.axes[0].patches]
    np.testing.assert_allclose(drawn, [[0.25, 0.5, 0.25], [0, 0, 1]])
    for counts in (np.array([1, 2]), np.zeros(3, int)):
        with pytest.raises(ValueError, match="expected 3 counts, not all zero"):
            draw_score_histograms(np.arange(4), {"inside": counts}, score="log p(x)")


def test_robustness_is_over_255ths_in_linf_and_pixels_in_l2():
    right = {"jeat": np.array([100, 50])}
    for balls, x in (([Linf(0.0), Linf(8 / 255)], [0, 8]), ([L2(0.0), L2(0.5)], [0, 0.5])):
        figure = draw_robustness_curves(balls, right, num_images=100, attack="PGD-10")
        line = figure.axes[0].get_lines()[0]
        np.testing.assert_allclose(line.get_xdata(), x)
        np.testing.assert_allclose(line.get_ydata(), [100, 50])
    with pytest.raises(ValueError, match="one norm"):
        draw_robustness_curves([Linf(0.0), L2(0.5)], right, num_images=100, attack="PGD-10")
    with pytest.raises(ValueError, match="2 counts of at most 99 images"):
        draw_robustness_curves([L2(0.0), L2(0.5)], right, num_images=99, attack="PGD-10")


HISTORY = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "val_accuracy": 0.5}]


def test_training_curves_pass_over_epochs_without_the_quantity():
    figure = draw_training_curves({"a": HISTORY, "b": HISTORY[:1]}, ["loss", "val_accuracy"])
    of_a, of_b = figure.axes[1].get_lines()
    np.testing.assert_array_equal(of_a.get_xydata(), [[2, 0.5]])
    assert not len(of_b.get_xydata())
    with pytest.raises(ValueError, match=r"among \['epoch', 'loss', 'val_accuracy'\], received \['gap'\]"):
        draw_training_curves({"a": HISTORY}, ["loss", "gap"])


def test_training_curves_of_one_kind_share_a_panel_with_a_title_in_words():
    history = [{"epoch": i, "val_accuracy": 0.9, "energy_pos": -1.0, "energy_neg": 1.0} for i in (1, 2)]
    trained_on = {"jeat": {"adv_accuracy": 0.5, "gradient_norm": 1.0}, "jem": {"accuracy": 0.8, "gradient_norm": 90.0}}
    runs = {name: [entry | more for entry in history] for name, more in trained_on.items()}
    quantities = ["val_accuracy", "accuracy", "adv_accuracy", "energy_pos", "energy_neg", "gradient_norm"]
    figure = draw_training_curves(runs, quantities)
    accuracy, energies, gradients = figure.axes
    assert [len(ax.get_lines()) for ax in figure.axes] == [6, 4, 2]
    assert "dashed: in training" in accuracy.get_title().replace("\n", " ")
    assert [line.get_linestyle() for line in energies.get_lines()] == ["-", "-", "--", "--"]
    assert gradients.get_yscale() == "log"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["jeat", "jem"]


@pytest.mark.parametrize(
    ("trained", "marked"), [([Linf(0.05)] * 2, True), ([Linf(0.05), Linf(0.1)], False), ([], False)]
)
def test_the_radius_of_training_is_marked_where_there_is_one(trained, marked):
    balls = [Linf(0.0), Linf(0.1)]
    figure = draw_robustness_curves(balls, {"a": [9, 3]}, num_images=10, attack="PGD-10", trained=trained)
    lines = [line.get_xdata() for line in figure.axes[0].get_lines() if line.get_linestyle() == ":"]
    assert [line[0] for line in lines] == pytest.approx([12.75] * marked)
    assert [words.get_ha() for words in figure.axes[0].texts] == ["left"] * marked


def test_the_words_beside_the_radius_of_training_stay_inside_the_panel():
    figure = draw_robustness_curves(
        [Linf(0.0), Linf(0.1)], {"a": [9, 3]}, num_images=10, attack="PGD-10", trained=[Linf(0.1)]
    )
    (words,) = figure.axes[0].texts
    FigureCanvasAgg(figure).draw()
    assert figure.axes[0].get_window_extent().x1 > words.get_window_extent().x1


def drawings() -> dict[str, Figure]:
    rng = np.random.default_rng(0)
    landscape = Landscape(np.array(NAMES), np.linspace(-1, 1, 5), np.zeros((2, 8, 8, 1)), *rng.random((2, 3, 5, 5)))
    norms = GradientNorms(np.array(NAMES), np.arange(4), *rng.random((2, 3, 4, 8)))
    by_epoch = ChangesByEpoch(np.arange(1, 4), np.ones((4, 3)), np.ones((4, 3)))
    shown = neighbours(X[:2], X, indices=np.arange(6).reshape(2, 3), distances=np.ones((2, 3)))
    return {
        "contours": draw_energy_contours(landscape, "marginal_energy"),
        "changes": draw_energy_changes(dict.fromkeys(NAMES, by_epoch)),
        "norms": draw_gradient_norms(norms),
        "classes": draw_class_grid(class_grid(dict.fromkeys(NAMES, X), LABELS, per_class=3)),
        "one class": draw_class_grid(class_grid(dict.fromkeys(NAMES, X), LABELS, per_class=3, classes=[1])),
        "neighbours": draw_neighbours(shown, measure="SSIM"),
        "reliability": draw_reliability(dict.fromkeys(NAMES, BINS)),
        "scores": draw_score_histograms(np.arange(4), dict.fromkeys(NAMES, np.array([1, 2, 3])), score="log p(x)"),
        "robustness": draw_robustness_curves(
            [Linf(0.0), Linf(0.1)], dict.fromkeys(NAMES, [9, 3]), num_images=10, attack="PGD-10"
        ),
        "training": draw_training_curves(dict.fromkeys(NAMES, HISTORY), ["loss", "val_accuracy"]),
    }


@pytest.mark.slow
def test_no_words_reach_beyond_the_picture():
    for name, figure in drawings().items():
        FigureCanvasAgg(figure).draw()
        for artist in [*figure.legends, *figure.axes]:
            box = artist.get_tightbbox()
            assert box.x0 >= -1, name
            assert box.y0 >= -1, name
            assert box.x1 <= figure.bbox.x1 + 1, name
            assert box.y1 <= figure.bbox.y1 + 1, name


class TestSaveFigure:
    def test_writes_the_picture_and_its_numbers(self, tmp_path):
        by_epoch = ChangesByEpoch(np.arange(1, 4), np.ones((4, 3)), np.ones((4, 3)))
        path = str(tmp_path / "new" / "changes")
        save_figure(path, draw_energy_changes({"jeat": by_epoch}), **by_epoch._asdict())
        with np.load(path + ".npz", allow_pickle=False) as file:
            assert set(file) == {"epoch", "mean", "std"}
            np.testing.assert_array_equal(file["mean"], by_epoch.mean)
        picture = tf.io.decode_png(tf.io.read_file(path + ".png"))
        assert picture.shape == (900, 1200, 4)
        assert len(np.unique(picture)) > 10
        assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["changes.npz", "changes.png"]

    def test_names_of_nets_are_kept_without_pickle(self, tmp_path):
        landscape = contours()
        save_figure(str(tmp_path / "a"), draw_energy_contours(landscape), **landscape._asdict())
        with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
            assert list(file["nets"]) == ["net"]

    def test_the_same_numbers_give_the_same_bytes(self, tmp_path):
        for name in "ab":
            save_figure(str(tmp_path / name), draw_training_curves({"jeat": HISTORY}, ["loss"]))
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
        assert not (tmp_path / "a.npz").exists()

    def test_a_path_with_a_suffix_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match="path without suffix"):
            save_figure(str(tmp_path / "a.png"), Figure())


def test_matplotlib_stays_in_figures_and_without_pyplot():
    root = pathlib.Path(__file__).parents[1] / "jeat_tf"
    for path in root.rglob("*.py"):
        top = [n for n in ast.parse(path.read_text()).body if isinstance(n, (ast.Import, ast.ImportFrom))]
        words = " ".join(map(ast.unparse, top))
        assert "pyplot" not in words, path
        assert path.parent.name in ("figures", "report") or "matplotlib" not in words, path
