"""Weighted k-means, many problems of one shape at once. Sums are kept in integers, so that a seed gives the same centroids whatever order a GPU adds in."""

import torch

from .codes import looked_up, nearest


def exact_sums(values, codes, entries):
    """Sums of values [problems, rows, n] over the rows of each code, in fixed point: [problems, entries, n] double, the same in every order of adding."""
    unit = values.abs().amax((1, 2), keepdim=True).double().clamp_min(1e-300) * 2.0**-30
    whole = (values.double() / unit).round_().long()
    sums = torch.zeros(values.shape[0], entries, values.shape[2], dtype=torch.int64, device=values.device)
    sums.scatter_add_(1, codes.unsqueeze(-1).expand_as(whole), whole)
    return sums.double() * unit


def random_start(x, weights, entries, generator):
    """Rows drawn by weight, without drawing one twice."""
    picks = torch.multinomial(weights, entries, generator=generator)
    return looked_up(picks, x)


def plus_plus(x, weights, entries, generator):
    """k-means++ (Arthur and Vassilvitskii 2007): each start is drawn by weight times squared distance to the starts so far."""
    starts, distance = [], torch.full(x.shape[:2], torch.inf, device=x.device)
    mass = weights
    for _ in range(entries):
        pick = torch.multinomial(mass.clamp_min(1e-30), 1, generator=generator)
        row = looked_up(pick, x)
        starts.append(row)
        distance = torch.minimum(distance, (x - row).square().sum(-1))
        mass = weights * distance
    return torch.cat(starts, 1)


STARTS = {"random": random_start, "plusplus": plus_plus}


def refill(centroids, mass, x, loss):
    """Puts each empty centroid on one of the rows of its problem with the largest loss, worst first."""
    empty = mass.squeeze(-1) == 0
    most = int(empty.sum(1).max())
    if most == 0:
        return centroids
    worst = looked_up(loss.topk(min(most, loss.shape[1]), 1).indices, x)
    rank = (empty.cumsum(1) - 1).clamp(0, worst.shape[1] - 1)
    return torch.where(empty.unsqueeze(-1), looked_up(rank, worst), centroids)


def kmeans(x, entries, weights=None, iterations=12, seed=0, start="plusplus", scale=None):
    """Centroids [problems, entries, channels] of x [problems, rows, channels].

    weights [problems, rows]: how much each row counts; default: alike. scale: a function of (codes, centroids) to factors [problems, rows] that decoding will put on the
    centroids (gains); then each centroid is the least-squares fit sum(w g x) / sum(w g^2) instead of the mean. Raises ValueError if there are fewer rows than entries.
    """
    if x.shape[1] < entries:
        raise ValueError(f"{x.shape[1]} vectors are too few for {entries} entries")
    weights = torch.ones(x.shape[:2], device=x.device) if weights is None else weights / weights.mean(1, keepdim=True).clamp_min(1e-30)
    generator = torch.Generator(x.device).manual_seed(seed)
    centroids = STARTS[start](x, weights, entries, generator)
    for _ in range(iterations):
        codes, loss = nearest(x, centroids, want_loss=True)
        factor = torch.ones_like(weights) if scale is None else scale(codes, centroids)
        sums = exact_sums(torch.cat((x * (weights * factor).unsqueeze(-1), (weights * factor.square()).unsqueeze(-1)), -1), codes, entries)
        mass = sums[..., -1:]
        moved = torch.where(mass > 0, sums[..., :-1] / mass.clamp_min(1e-300), centroids.double()).float()
        centroids = refill(moved, mass, x, loss * weights)
    return centroids
