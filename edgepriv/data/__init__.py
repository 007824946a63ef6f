"""Where examples come from and who is a member."""

from edgepriv.data.canaries import (
    Canaries,
    canaries_in,
    canary_files,
    canary_notes,
    ordinary,
    refuse_other_canaries,
    with_canaries,
)
from edgepriv.data.dataset import (
    Dataset,
    Subgroups,
    as_inputs,
    checked,
    counted_from_zero,
    described,
    members_beside,
    with_classes,
)
from edgepriv.data.earlier import earlier_readings
from edgepriv.data.encoding import TableEncoding, encoded_members, fitted
from edgepriv.data.extra import ExtraData, labelled, read_extra, read_public, refuse_shared, shared_with
from edgepriv.data.files import columns_of, from_member_files, kind_of, of_members, read_arrays
from edgepriv.data.halves import Halves, halves_of
from edgepriv.data.inherited import NAMING, read_members
from edgepriv.data.same_columns import as_in, in_one_order
from edgepriv.data.sources import canonical_name, default_data_dir, files_of, load
from edgepriv.data.split_notes import notes_on_resolution, notes_on_split
from edgepriv.data.splits import Split, make_split, remake_split, trained_elsewhere
from edgepriv.data.training_data import TrainingData

__all__ = [
    "NAMING",
    "Canaries",
    "Dataset",
    "ExtraData",
    "Halves",
    "Split",
    "Subgroups",
    "TableEncoding",
    "TrainingData",
    "as_in",
    "as_inputs",
    "canaries_in",
    "canary_files",
    "canary_notes",
    "canonical_name",
    "checked",
    "columns_of",
    "counted_from_zero",
    "default_data_dir",
    "described",
    "earlier_readings",
    "encoded_members",
    "files_of",
    "fitted",
    "from_member_files",
    "halves_of",
    "in_one_order",
    "kind_of",
    "labelled",
    "load",
    "make_split",
    "members_beside",
    "notes_on_resolution",
    "notes_on_split",
    "of_members",
    "ordinary",
    "read_arrays",
    "read_extra",
    "read_members",
    "read_public",
    "refuse_other_canaries",
    "refuse_shared",
    "remake_split",
    "shared_with",
    "trained_elsewhere",
    "with_canaries",
    "with_classes",
]
