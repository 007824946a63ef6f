"""Where examples come from and who is a member."""

from edgepriv.data.dataset import Dataset, as_inputs, checked, members_beside, with_classes
from edgepriv.data.files import from_member_files
from edgepriv.data.sources import canonical_name, default_data_dir, load
from edgepriv.data.splits import Split, make_split, remake_split

__all__ = [
    "Dataset",
    "Split",
    "as_inputs",
    "canonical_name",
    "checked",
    "default_data_dir",
    "from_member_files",
    "load",
    "make_split",
    "members_beside",
    "remake_split",
    "with_classes",
]
