"""The properties that encoders and fusion heads share: name, promise, hint and check of each."""

from mcr_bench.bench.testing.nets import giving, training
from mcr_bench.bench.testing.nets.cases import NetCase, NetProperty, usable

USABLE: NetProperty[NetCase] = NetProperty(
    "usable",
    "it can be made with its default settings, and gives what the contract says",
    "docs/nets.md shows what the class has; every argument of the constructor beyond the first needs a default",
    usable,
)
SHARED: tuple[NetProperty[NetCase], ...] = (
    NetProperty(
        "shapes",
        "it gives one row of finite float32 numbers per sample, for any number of samples",
        "use x.flatten(1) instead of reshape with a fixed batch, squeeze(dim) instead of squeeze(), no .double()",
        giving.shapes,
    ),
    NetProperty(
        "batch-of-one",
        "a batch of one sample can be trained on",
        "batch norm of (1, C) has no variance: use layer norm, or skip the batch statistics for a single sample",
        training.one_sample,
    ),
    NetProperty(
        "one-step",
        "padded samples of a single real step give finite outputs and gradients, one alone and a batch of nothing else",
        "a deviation over one step has no value: use correction=0, add 1e-5; lengths // stride may be 0: clamp(min=1)",
        training.one_step,
    ),
    NetProperty(
        "absent-modality",
        "a batch in which every sample lacks the modality, so that all are equal, gives finite outputs and gradients",
        "divide by x.std() + 1e-5 and x.norm() + 1e-5, or use F.normalize and F.layer_norm, which have an eps",
        training.absent,
    ),
    NetProperty(
        "independent-samples",
        "in evaluation a sample gives the same outputs whatever stands beside it",
        "no mean, norm or attention over the batch axis; batch norm uses running statistics after net.eval()",
        giving.one_by_one,
    ),
    NetProperty(
        "deterministic",
        "in evaluation the same samples give the same bits",
        "use nn.Dropout, which net.eval() turns off, or F.dropout(x, p, self.training); no counters between calls",
        giving.the_same_again,
    ),
    NetProperty(
        "no-draws",
        "a pass in evaluation draws from no global generator, and one in training seeds none",
        "draw in training alone: `if self.training:`; leave out manual_seed and np.random.seed",
        giving.no_draws,
    ),
    NetProperty(
        "evaluation-keeps-state",
        "a pass in evaluation changes no parameter and no buffer",
        "update running statistics and counters in training alone: `if self.training:`",
        giving.buffers_kept,
    ),
    NetProperty(
        "finite-gradients",
        "the gradients of all parameters are finite",
        "give sqrt, log and division a small number, as in torch.sqrt(x + 1e-8); norm() has no gradient at zero",
        training.gradients,
    ),
    NetProperty(
        "reached",
        "the optimiser moves every parameter",
        "a parameter without effect: use it or delete it; detach(), no_grad() and argmax cut gradients; one that is to "
        "stay as it is says so by requires_grad = False, or is a buffer",
        training.reached,
    ),
    NetProperty(
        "seeded-weights",
        "the initial weights follow the seed alone",
        "draw weights in the constructor with torch, NumPy or random and no generator or seed of your own",
        training.drawn_by_seed,
    ),
    NetProperty(
        "state",
        "a trained net is restored from its state dict to the same bits",
        "what changes in training is a parameter or a buffer (self.register_buffer), not a plain attribute",
        training.restored,
    ),
    NetProperty(
        "bf16",
        "under autocast to bfloat16 outputs and gradients are finite, and close to those of float32",
        "make constants with dtype=x.dtype; compute exp, log and sums over many numbers in x.float()",
        training.half_precision,
    ),
    NetProperty(
        "no-waiting",
        "within a step nothing makes the host wait for a GPU",
        "no .item(), float(x), print(x), if x > 0 or x[mask]; make tensors with device=x.device; "
        ".to(x.device, non_blocking=True). pack_padded_sequence needs lengths on the host: leave it out and mask the "
        'steps instead, or state the reason on the class: waits = "pack_padded_sequence needs lengths on the host"',
        training.no_waiting,
    ),
    NetProperty(
        "leaves-no-trace",
        "making, training and calling it change nothing of the process",
        "no seeds, default dtypes, environment variables or replaced functions: pass what you need as arguments",
        giving.nothing_changed,
        most=1,
    ),
)
