"""Posterior flattening: members and non-members should get the same confidence."""

from torch import Tensor


def mean_sorted_posterior(logits: Tensor) -> Tensor:
    """Mean over the batch of the softmax sorted in descending order: [N, K] -> [K], summing to 1."""
    return logits.float().softmax(dim=1).sort(dim=1, descending=True).values.mean(dim=0)


def flattening_loss(member_logits: Tensor, non_member_logits: Tensor) -> Tensor:
    """KL(P_member || P_non-member) of the mean sorted posteriors, in nats (Drif & Berrabah 2025, eq. 7).

    Sorting makes the term independent of which classes the two batches hold.
    """
    members, non_members = mean_sorted_posterior(member_logits), mean_sorted_posterior(non_member_logits)
    tiny = 1e-12
    return (members * ((members + tiny).log() - (non_members + tiny).log())).sum()
