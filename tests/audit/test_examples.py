"""Members and non-members of two files, as the audited file takes them."""

from types import SimpleNamespace

import numpy as np
import pytest

from edgepriv.audit.examples import from_files
from edgepriv.errors import UserError
from edgepriv.recipe import Data

OURS = SimpleNamespace(is_ours=True, table=None)


@pytest.fixture
def tables(tmp_path):
    """The model's own table, and two of members and non-members with its columns the other way round."""
    values = np.random.default_rng(0).random((40, 2)).round(4)
    for name, titles in (("own.csv", "u,v"), ("m.csv", "v,u"), ("n.csv", "v,u")):
        part = values[20:] if name == "n.csv" else values[:20]
        rows = part if titles == "u,v" else part[:, ::-1]
        lines = [f"{first},{second},{k % 2}" for k, (first, second) in enumerate(rows.tolist())]
        (tmp_path / name).write_text("\n".join([f"{titles},who", *lines]))
    return tmp_path, values


def test_columns_stand_as_in_the_table_that_the_model_was_trained_on(tables):
    folder, values = tables
    asked = Data(name=f"csv:{folder / 'own.csv'}", label="who")
    read = from_files(OURS, folder / "m.csv", folder / "n.csv", asked, None)
    np.testing.assert_allclose(read.dataset.x, values, rtol=1e-6)
    (folder / "own.csv").write_text((folder / "own.csv").read_text().replace("u,v,who", "u,w,who"))
    with pytest.raises(UserError, match="must have the same columns"):
        from_files(OURS, folder / "m.csv", folder / "n.csv", asked, None)


def test_where_that_table_is_gone_the_order_is_an_assumption_that_is_said(tables):
    folder, values = tables
    (folder / "own.csv").unlink()
    asked = Data(name=f"csv:{folder / 'own.csv'}", label="who")
    read = from_files(OURS, folder / "m.csv", folder / "n.csv", asked, None)
    np.testing.assert_allclose(read.dataset.x, values[:, ::-1], rtol=1e-6)
    assert any("columns are taken in the order of the file of members" in note for note in read.dataset.notes)
