from edgepriv.tuning.bits import allocated


def table(**layers):
    rows = [
        {"name": name, "parameters": parameters, "divergence": dict(zip(("2", "4", "8"), lost, strict=True))}
        for name, (parameters, lost) in layers.items()
    ]
    return {"widths": [2, 4, 8], "rows": rows, "skipped": []}


SENSITIVE = table(first=(100, (0.9, 0.1, 0.0)), large=(10_000, (0.02, 0.01, 0.0)), last=(100, (0.5, 0.2, 0.0)))


def test_bits_go_where_they_save_most():
    assert allocated(SENSITIVE, 2.0) == "*=2"
    assert allocated(SENSITIVE, 2.04) == "first=4,large=2,last=4"
    assert allocated(SENSITIVE, 2.2) == "first=8,large=2,last=8"
    assert allocated(SENSITIVE, 8.0) == "*=8"


def test_a_layer_that_was_not_measured_stays_as_it_is():
    assert allocated(SENSITIVE | {"skipped": ["huge"]}, 2.0) == "first=2,large=2,last=2,huge=32"
