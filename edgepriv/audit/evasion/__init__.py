"""Evasion: how easily small perturbations change the label of the file that ships.

``attacks`` names the attacks and the levels of ``--robust``; ``apgd``, ``fab`` and ``square`` are plain functions on one
gradient core, ``edgepriv.training.pgd``; ``trial`` counts who was fooled; ``ensemble`` runs a level; ``doubts`` and
``remarks`` warn.
"""

from edgepriv.audit.evasion.ensemble import robustness
from edgepriv.audit.evasion.setting import Setting
from edgepriv.audit.evasion.without_gradients import without_gradients

__all__ = ["Setting", "robustness", "without_gradients"]
