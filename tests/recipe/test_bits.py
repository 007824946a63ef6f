"""Widths of the weights, as rules on the names of layers."""

from edgepriv.recipe import Quantize, bit_rules


def test_the_first_rule_that_matches_wins():
    rule = Quantize(bits="conv1=8, fc*=2 ,*=4")
    assert [rule.bits_of(layer) for layer in ("conv1", "fc2", "conv10", "blocks.0.conv1")] == [8, 2, 4, 4]


def test_a_layer_that_no_rule_matches_is_not_quantized():
    assert Quantize(bits="fc*=2").bits_of("conv1") == 32


def test_a_number_may_come_as_text_from_the_command_line():
    assert Quantize(bits="4") == Quantize(bits=4)
    assert bit_rules(4) == [("*", 4)]


def test_full_width_is_inactive():
    assert not Quantize().active
    assert not Quantize(bits="*=32").active
    assert Quantize(bits="fc=8,*=32").active
