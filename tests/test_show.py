"""Labelled pictures of images."""

import numpy as np
import pytest

import jeat_tf as jt


def test_pixels_are_enlarged_by_a_whole_number_and_stay_what_they_are():
    images = np.array([0.0, 1.0, 0.5, 2.0], np.float32).reshape(1, 2, 2, 1)
    picture = np.asarray(jt.show(images, width=20))
    scale = 10
    assert (
        picture[5 : 5 + 2 * scale, 5 : 5 + 2 * scale].tolist()
        == np.array([[0, 255], [128, 255]]).repeat(scale, 0).repeat(scale, 1).tolist()
    )


def test_rows_of_one_class_are_labelled_once_at_the_left():
    images = np.zeros((6, 8, 8, 3), np.float32)
    in_rows = jt.show(images, [0, 0, 0, 1, 1, 1], columns=3)
    each = jt.show(images, [0, 1, 2, 0, 1, 2], columns=3)
    plain = jt.show(images, columns=3)
    assert in_rows.width > plain.width
    assert in_rows.height == plain.height
    assert each.width == plain.width
    assert each.height > plain.height
    assert in_rows.mode == "RGB"


def test_a_picture_is_about_as_wide_as_asked():
    assert 550 < jt.show(np.zeros((100, 28, 28, 1)), width=600).width < 700


@pytest.mark.parametrize("shape", [(0, 8, 8, 1), (2, 8, 8), (2, 8, 8, 2)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="expected images of shape"):
        jt.show(np.zeros((2, *shape) if shape == (2, 8, 8) else shape))


def test_labels_are_one_for_each_image():
    with pytest.raises(ValueError, match="expected a label for each of 2 images, received 3"):
        jt.show(np.zeros((2, 8, 8, 1)), [1, 2, 3])


def test_an_image_of_no_class_is_labelled_by_a_question_mark():
    images = np.zeros((2, 8, 8, 1), np.float32)
    asked = jt.show(images, [0, -1], columns=1, names=["cat", "dog"])
    other = jt.show(images, [0, 1], columns=1, names=["cat", "dog"])
    assert asked.tobytes() != other.tobytes()
