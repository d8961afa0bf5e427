"""An independent plain reimplementation of the two VPosers' forward passes, straight from their state dicts.

Written from the published description of the networks (design facts: layer order, slopes, layout of the 6D output),
with nothing but matrix products, so that it shares no code with what it checks.
"""

import torch


def batch_norm(x, state, prefix):
    scale = state[f"{prefix}.weight"] / torch.sqrt(state[f"{prefix}.running_var"] + 1e-5)
    return (x - state[f"{prefix}.running_mean"]) * scale + state[f"{prefix}.bias"]


def linear(x, state, prefix):
    return x @ state[f"{prefix}.weight"].T + state[f"{prefix}.bias"]


def leaky(x, slope):
    return torch.where(x > 0, x, slope * x)


def gram_schmidt(x):
    x = x.reshape(*x.shape[:-1], 21, 3, 2)
    b1 = x[..., 0] / x[..., 0].norm(dim=-1, keepdim=True)
    rest = x[..., 1] - (b1 * x[..., 1]).sum(-1, keepdim=True) * b1
    b2 = rest / rest.norm(dim=-1, keepdim=True)
    return torch.stack([b1, b2, torch.linalg.cross(b1, b2)], dim=-1)


def v1_encode(x, s):
    x = leaky(linear(batch_norm(x, s, "bodyprior_enc_bn1"), s, "bodyprior_enc_fc1"), 0.2)
    x = leaky(linear(batch_norm(x, s, "bodyprior_enc_bn2"), s, "bodyprior_enc_fc2"), 0.2)
    return linear(x, s, "bodyprior_enc_mu"), torch.log1p(linear(x, s, "bodyprior_enc_logvar").exp())


def v1_decode(z, s):
    x = leaky(linear(z, s, "bodyprior_dec_fc1"), 0.2)
    x = leaky(linear(x, s, "bodyprior_dec_fc2"), 0.2)
    return gram_schmidt(linear(x, s, "bodyprior_dec_out"))


def v2_encode(x, s):
    x = leaky(linear(batch_norm(x, s, "encoder_net.1"), s, "encoder_net.2"), 0.01)
    x = linear(linear(batch_norm(x, s, "encoder_net.4"), s, "encoder_net.6"), s, "encoder_net.7")
    return linear(x, s, "encoder_net.8.mu"), torch.log1p(linear(x, s, "encoder_net.8.logvar").exp())


def v2_decode(z, s):
    x = leaky(linear(z, s, "decoder_net.0"), 0.01)
    x = leaky(linear(x, s, "decoder_net.3"), 0.01)
    return gram_schmidt(linear(x, s, "decoder_net.5"))


def random_state(layers, norms, seed=0):
    """Random weights of the given {prefix: (out, in)} linear layers and {prefix: width} batch norms."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    state = {}
    for prefix, (out, inputs) in layers.items():
        state[f"{prefix}.weight"] = draw(out, inputs) / inputs**0.5
        state[f"{prefix}.bias"] = 0.3 * draw(out)
    for prefix, width in norms.items():
        state[f"{prefix}.weight"], state[f"{prefix}.bias"] = 1 + 0.2 * draw(width), 0.2 * draw(width)
        state[f"{prefix}.running_mean"], state[f"{prefix}.running_var"] = 0.2 * draw(width), 0.5 + draw(width).square()
        state[f"{prefix}.num_batches_tracked"] = torch.tensor(7)
    return state


def v1_state():
    """A state dict shaped as vposer_v1_0's."""
    prefix = "bodyprior_"
    layers = {"enc_fc1": (512, 63), "enc_fc2": (512, 512), "enc_mu": (32, 512), "enc_logvar": (32, 512)}
    layers |= {"dec_fc1": (512, 32), "dec_fc2": (512, 512), "dec_out": (126, 512)}
    norms = {"enc_bn1": 63, "enc_bn2": 512}
    return random_state({prefix + k: v for k, v in layers.items()}, {prefix + k: v for k, v in norms.items()})


def v2_state():
    """A state dict shaped as V02_05's."""
    layers = {"encoder_net.2": (512, 63), "encoder_net.6": (512, 512), "encoder_net.7": (512, 512)}
    layers |= {"encoder_net.8.mu": (32, 512), "encoder_net.8.logvar": (32, 512)}
    layers |= {"decoder_net.0": (512, 32), "decoder_net.3": (512, 512), "decoder_net.5": (126, 512)}
    return random_state(layers, {"encoder_net.1": 63, "encoder_net.4": 512})
