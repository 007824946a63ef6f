"""Whether an answer is the input's own is judged by what attacks read too: the logarithms of probabilities."""

import numpy as np

from edgepriv.artifact.batches import LARGEST_QUANTIZED, ROUNDING, steadiness
from edgepriv.device.session import softmax

X = np.eye(3, dtype=np.float32)[np.arange(40) % 3]


def sure(x, beside=0.0):
    """Answers of a model that is sure of them; ``beside``: how much of the first input of a batch goes into all of them."""
    return softmax(10 * (x + np.float32(beside) * x[0]))


def test_a_sure_model_that_looks_at_the_rest_of_the_batch_is_found():
    assert not steadiness(sure, X).batch_dependent
    coupled = steadiness(lambda x: sure(x, 0.05), X)
    assert coupled.batches < ROUNDING
    assert coupled.labels_changed == 0  # by probabilities and labels it would pass
    assert coupled.batch_dependent
    assert "the logarithms of half of them by 1 or more" in coupled.sentence()


def test_kernels_that_quantize_a_whole_batch_move_all_answers_a_little():
    assert not steadiness(lambda x: sure(x, 0.05), X, LARGEST_QUANTIZED).batch_dependent


def test_a_step_of_rounding_in_a_few_answers_is_none():
    def rounded(x):
        answers = sure(x)
        answers[np.arange(len(x)) % 7 == 6] += np.float32(1 / 512)  # by the place in the batch, as a rounding may flip
        return answers

    assert not steadiness(rounded, X).batch_dependent
