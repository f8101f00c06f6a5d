"""Which images the interface takes, and what it says of others."""

import numpy as np
import pytest
import torch
from PIL import Image

import ntire_sr
from ntire_sr.api.inputs import WANTED, repeat_to_match, take, whole_number
from ntire_sr.core.errors import ArgumentTypeError, ArgumentValueError, UsageError

ARRAY = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)
BATCH = np.stack([ARRAY, ARRAY + 100])
TENSOR = torch.from_numpy(BATCH).permute(0, 3, 1, 2)

FORMS = {
    "an array": (ARRAY, 1),
    "an array that may not be written": (np.asarray(Image.fromarray(ARRAY)), 1),
    "a flipped array": (ARRAY[::-1][::-1], 1),
    "a batch of arrays": (BATCH, 2),
    "a tensor like an array": (torch.from_numpy(ARRAY), 1),
    "a batch of these": (torch.from_numpy(BATCH), 2),
    "a tensor of uint8": (TENSOR, 2),
    "a tensor of float": (TENSOR / 255, 2),
    "a tensor of half precision": ((TENSOR[:1] / 256).half(), 1),
    "a tensor of float64": (TENSOR.double() / 255, 2),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pixels_and_returns_in_its_form(form):
    given, count = FORMS[form]
    taken = take("sr", given)
    expected = TENSOR[:count] if "half" not in form else (TENSOR[:1] / 256 * 255).round().byte()
    assert torch.equal(taken.levels, expected)
    assert taken.unit.is_floating_point() and taken.unit.max() <= 1
    back = taken.as_given(taken.levels)
    assert type(back) is (np.ndarray if isinstance(given, np.ndarray) else torch.Tensor)
    assert back.shape == given.shape
    if given.dtype in (np.uint8, torch.uint8):
        assert (back == given).all()
    assert np.shape(taken.figures([1.0] * count)) == (() if given.ndim == 3 else (count,))
    assert np.shape(taken.flags([True] * count)) == (() if given.ndim == 3 else (count,))


REFUSED = {
    "an array of float": (ARRAY / 255, TypeError, r"an array \(6, 5, 3\) of float64"),
    "an array of 16 bits": (ARRAY.astype(np.uint16), TypeError, "of uint16"),
    "an array of signed levels": (ARRAY.astype(int), TypeError, "of int64"),
    "a mask": (ARRAY > 3, TypeError, "of bool"),
    "a tensor of integers": (TENSOR.long(), TypeError, r"a tensor \(2, 3, 6, 5\) of int64"),
    "a PIL image": (Image.fromarray(ARRAY), TypeError, "an Image"),
    "a path": ("0801.png", TypeError, "a str"),
    "nothing": (None, TypeError, "a NoneType"),
    "a list of arrays": ([ARRAY, ARRAY], TypeError, "a list"),
    "a grey image": (ARRAY[..., 0], ValueError, r"an array \(6, 5\) of uint8"),
    "an image with alpha": (np.zeros((6, 5, 4), np.uint8), ValueError, r"\(6, 5, 4\)"),
    "channels first": (np.zeros((3, 6, 5), np.uint8), ValueError, r"\(3, 6, 5\)"),
    "arrays with channels first": (np.zeros((2, 3, 6, 5), np.uint8), ValueError, r"\(2, 3, 6, 5\)"),
    "a single tensor": (TENSOR[0] / 255, ValueError, r"a tensor \(3, 6, 5\) of float32"),
    "a float tensor like an array": (torch.rand(6, 5, 3), ValueError, r"\(6, 5, 3\) of float32"),
    "axes that may be either": (torch.zeros(2, 3, 6, 3, dtype=torch.uint8), ValueError, r"\(2, 3, 6, 3\)"),
    "no image": (TENSOR[:0], ValueError, r"\(0, 3, 6, 5\)"),
    "no pixels": (np.zeros((0, 5, 3), np.uint8), ValueError, r"\(0, 5, 3\)"),
    "grey levels as float": (TENSOR.float(), ValueError, "values from 0 to 189"),
    "a range of [-1, 1]": (TENSOR / 127.5 - 1, ValueError, "values from -1 to 0.48"),
    "a sparse tensor": ((TENSOR / 255).to_sparse(), TypeError, r"a sparse_coo tensor \(2, 3, 6, 5\)"),
    "a meta tensor": (torch.empty(1, 3, 6, 5, device="meta"), TypeError, r"a meta tensor \(1, 3, 6, 5\)"),
    "nan": (torch.full((1, 3, 6, 5), torch.nan), ValueError, "values from nan to nan"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_other_inputs_are_refused_with_the_expected_form(what):
    given, kind, says = REFUSED[what]
    with pytest.raises(kind, match=f"^hr is .*{says}") as raised:
        ntire_sr.lpips(ARRAY, given)
    error = raised.value
    assert isinstance(error, UsageError) and error.remedy
    assert WANTED in error.message or "expected float in [0, 1]" in error.message


def test_reference_has_as_many_images_or_one_for_all():
    assert torch.equal(
        repeat_to_match(take("sr", BATCH), take("lr", ARRAY)).levels, TENSOR[:1].expand(2, 3, 6, 5)
    )
    with pytest.raises(ArgumentValueError, match="sr has 1 images, lr 2"):
        repeat_to_match(take("sr", ARRAY), take("lr", BATCH))


def test_integers_of_python_and_numpy_are_taken_but_not_bool_or_text():
    assert whole_number("k", np.int64(3), 1) == 3
    for value in ("4", 4.0, True, None):
        with pytest.raises(ArgumentTypeError, match=r"^scale is .*, no integer"):
            whole_number("scale", value, 1)
    with pytest.raises(ArgumentValueError, match=r"^k is 0"):
        whole_number("k", 0, 1)
