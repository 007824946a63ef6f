"""Where examples come from and who is a member."""

from edgepriv.data.dataset import Dataset, as_inputs, checked, count_shared_examples
from edgepriv.data.files import from_examples_file
from edgepriv.data.sources import default_data_dir, load
from edgepriv.data.splits import Split, make_split, remake_split

__all__ = [
    "Dataset",
    "Split",
    "as_inputs",
    "checked",
    "count_shared_examples",
    "default_data_dir",
    "from_examples_file",
    "load",
    "make_split",
    "remake_split",
]
