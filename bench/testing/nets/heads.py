"""The properties of fusion heads, and how a head that a target names is opened."""

from dataclasses import replace
from functools import partial

from mcr_bench.bench.catalog import nets
from mcr_bench.bench.models.declared import FusionKind, Values
from mcr_bench.bench.testing.card import Kit, Opened, Property
from mcr_bench.bench.testing.nets import head_checks
from mcr_bench.bench.testing.nets.cases import Cases, NetProperty
from mcr_bench.bench.testing.nets.encoders import class_of, costs, file_of
from mcr_bench.bench.testing.nets.head_case import HeadCase, head_cases
from mcr_bench.bench.testing.nets.tables import SHARED, USABLE

OWN: tuple[NetProperty[HeadCase], ...] = (
    NetProperty(
        "number-of-outputs",
        "it gives as many outputs as the task has, one for scores too",
        "the last layer has `outputs` outputs; no squeeze() of a single one",
        head_checks.one_output,
    ),
    NetProperty(
        "uses-every-modality",
        "the logits depend on the features of every modality, and their gradient reaches every encoder",
        "loop over all modalities that the constructor is given, however many they are; no detach() of features",
        head_checks.modalities_used,
    ),
    NetProperty(
        "logits",
        "it gives logits, not probabilities",
        "leave out softmax and sigmoid at the end: losses and predictions apply them",
        head_checks.logits_given,
    ),
    NetProperty(
        "features-kept",
        "a pass does not write to the features, tokens and masks that it is given",
        "x = 2 * x instead of x *= 2, masked_fill instead of masked_fill_: own heads read the features afterwards",
        head_checks.features_kept,
    ),
    NetProperty(
        "additive",
        "the branches and the bias sum to the logits, and a branch is a function of its own modality",
        "make forward the sum of `branches` (plus `bias`), with a module of `slices` in each; or leave `additive` out",
        head_checks.branches,
    ),
    NetProperty(
        "owners",
        "what is in `slices[m]` is fed by modality m, and a part of one modality alone is in `slices`",
        "put the layer of each modality into self.slices = nn.ModuleDict(...), under the name of its modality",
        head_checks.owners,
    ),
    NetProperty(
        "order-of-modalities",
        "with the same weights the order of the modalities does not matter",
        "use one layer per modality, by name, instead of one over torch.cat(list(features.values()), 1); if the first "
        "modality is to have a part of its own, declare ordered = True",
        head_checks.order,
    ),
    NetProperty(
        "saturated-features",
        "features of size 10,000 give finite logits and gradients",
        "use softmax and logsumexp instead of exp, F.logsigmoid instead of log(sigmoid), F.normalize with its eps",
        head_checks.saturated,
    ),
    NetProperty(
        "reads",
        "it reads no more than it declares, and ignores the tokens that the mask leaves out",
        "mask attention with masked_fill(~mask, -inf) before softmax, and sums with mask[..., None]; divide by "
        "mask.sum(1), not by the number of tokens",
        head_checks.reads,
    ),
)
MOST = 2  # numbers of modalities on which what does not depend on them is checked
ALL: tuple[NetProperty[HeadCase], ...] = (
    *(
        replace(USABLE, hint=f"{USABLE.hint}; at_least = 2 and at_most = 2 on the class say that it joins two"),
        SHARED[0],
    ),
    *OWN,
    *(replace(one, most=min(MOST, one.most)) for one in SHARED[1:]),
)
PROPERTIES: tuple[Property[Cases[HeadCase]], ...] = tuple(one.of_cases() for one in ALL)


def opened(target: str) -> Opened[Cases[HeadCase]]:
    """The fusion head that a name, a file or a class of a package names, with its default settings."""
    cls = class_of(target)
    kind = nets.fusion(target) if cls is None else nets.fusion_class(cls, target)
    return opened_kind(kind, {name: one.default for name, one in kind.settings.items()})


def opened_kind(kind: FusionKind, values: Values) -> Opened[Cases[HeadCase]]:
    """A fusion head with these settings, ready to be checked."""
    cases = head_cases(kind, values)
    return Opened(kind.name, cases, file_of(kind), partial(costs, cases.of))


KIT = Kit(PROPERTIES, opened)
