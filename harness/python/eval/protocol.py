"""Which tokens are read: the protocol of the evaluation, and recordings for calibration."""

import numpy
import torch

CALIBRATION = {"windows": 16, "tokens": 2048}
EVALUATION = {"windows": 8, "tokens": 4096}
FIRST = 0  # token id that every window of lm-a starts with


def read_ids(path):
    """Token ids [tokens] of a .npy file."""
    return torch.from_numpy(numpy.load(path).astype(numpy.int64))


def cut(ids, windows, tokens, spread=True, first=0, start_id=FIRST):
    """[windows, tokens + 1] ids: inputs and, shifted by one, their targets; token 0 is `start_id`.

    spread: window w starts at w * (len(ids) - tokens - 1) // windows, over the whole text. Else windows follow each other from token `first` on. Raises ValueError where there are
    too few ids.
    """
    starts = [w * (len(ids) - tokens - 1) // windows if spread else first + w * tokens for w in range(windows)]
    if len(ids) < max(starts) + tokens + 1:
        raise ValueError(f"{windows} windows of {tokens} tokens need {max(starts) + tokens + 1} ids, the text has {len(ids)}")
    out = torch.stack([ids[s : s + tokens + 1] for s in starts]).clone()
    out[:, 0] = start_id
    return out


@torch.no_grad()
def perplexity(model, attention, ids, batch=8):
    """exp of the mean cross-entropy over all targets: ids [windows, tokens + 1]; `batch` windows at a time."""
    parts = [model.loss(part.to(model.device), attention).double().sum().item() for part in ids.split(batch)]
    return float(numpy.exp(sum(parts) / (ids.shape[0] * (ids.shape[1] - 1))))
