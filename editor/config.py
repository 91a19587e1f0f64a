"""Every setting an edit depends on, in one frozen value that is recorded with the edit."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from errata.ledger.base.errors import UsageError
from errata.ledger.events.parts import StopReason


class Stage2(StrEnum):
    """How the weights are found once it is known what they should give: a file each in `editor.methods`."""

    MEMIT = "memit"
    """Regularised least squares; with the norm constraint and MPES it is ENCORE."""
    ALPHAEDIT = "alphaedit"
    """Least squares within the null space of the second moment."""
    EMMET = "emmet"
    """Equality constraints for a whole batch."""
    ROME = "rome"
    """An equality constraint for one edit."""
    FT = "ft"
    """Constrained fine-tuning of the matrix itself; it has no target value."""


TARGET_END = "."
"""What ends an answer, where an edit has failed without one."""

MOST_STEPS = 10_000
"""Most optimiser steps that can be asked for."""


class EditConfig(BaseModel):
    """Hyperparameters of both stages.

    The defaults suit small models such as the one that ships. The published settings for models of 1.5 to 8 billion
    parameters (Gupta et al., arXiv 2502.01636) are learning rate 0.5, 20 to 25 steps, clamp 0.75, patience 1 to 4,
    stats weight 15,000 to 20,000 and norm weight 10 to 40.

    Attributes:
        layers: edited layers, ascending; stage 1 optimises the hidden state after the last of them.
        stage2: how the weights are found. Records from before there was a choice lack it, and are MEMIT's.
        max_steps: most optimiser steps of stage 1.
        learning_rate: Adam's, in units of the hidden state.
        step_length: if given, stage 1 goes down the gradient by steps of this share of the hidden state's norm, in
            place of Adam's. Records from before there was a choice lack it, and are Adam's.
        step_shrink: what a step of that kind is multiplied by where the gradient has turned back, so that the one
            before went too far; where it goes on, steps grow again up to their full length. Records from before there
            was one lack it, and had steps of one length.
        step_momentum: share of the last step of that kind that the next one goes on with, unless the gradient has
            turned back. Records from before there was one lack it, and had none.
        fisher_weight: how much the metric in which a step of that kind goes steepest down is the Fisher information of
            the hidden state (`editor.preserve.fisher`) beside the identity: with it the target is reached by changes
            that other text hears least of. Records from before there was one lack it, and had none.
        matmul_dtype: dtype of the factors in stage 1's products, where the model's weights are float32
            (`editor.target.products`). Records from before there was a choice lack it, and are float32.
        early_stopping: most-probable early stopping (MPES): stop once every target token is the most probable one in
            every rewriting prompt and has been so for ``patience`` more steps.
        patience: steps to go on after the target first became the most probable one everywhere.
        loss_threshold: stop when a request's loss falls below it; what ROME and MEMIT do instead of MPES.
        clamp_norm_factor: the added vector stays within this multiple of the hidden state's norm.
        kl_weight: weight of the divergence on "{subject} is a".
        decay: weight of ``‖δ‖ / ‖z0‖²``.
        context_prompts: how many of the recorded context prompts a request is also optimised behind.
        answer_forms: how many of `requests.ANSWER_FORMS` a fact is also optimised in, where the target does not follow
            the prompt's own words. Records from before there were any lack it, and had none.
        target_end: what stage 1 asks for behind the target, such as "."; without it nothing keeps "BBC" from being said
            as "BBC1". Records from before there was one lack it, and asked for nothing.
        key_context_weight: share of the mean key of the other rewriting prompts in an edit's key, where there are any
            in chat of those alone; the bare prompt has the rest.
        chat: whether a fact is also optimised in the form of a chat; the model's tokenizer has to have a template.
        chat_system: the system prompt of chats; empty for none.
        stats_weight: λp, weight of the second moment C.
        neighbour_share: share of C that is taken over the batch's own prompts about other subjects
            (`editor.preserve.neighbourhood`). Records from before there was one lack it, and had none.
        neighbours: how many other subjects each prompt is put about.
        norm_weight: λn, the Frobenius norm constraint; AlphaEdit's λ.
        null_space_share: AlphaEdit may change the directions of C's smallest eigenvalues that together hold at most
            this share of its trace.
        null_space_threshold: if given, it may change those in which C's eigenvalue is below this multiple of the mean
            eigenvalue instead. Records from before there was a share have it.
        ft_step: length of one step of fine-tuning, as a share of the matrix's Frobenius norm.
        ft_norm_limit: most that fine-tuning may change the matrix, as a share of its Frobenius norm.
        ft_rank_error: largest relative error of the low-rank form that a fine-tuned change is recorded in; as few pairs
            of factors are taken as come that close.
        past_keys: whether the keys of live edits are preserved.
        max_target_tokens: longest target that is accepted.
        rows_at_once: prompts that are optimised side by side; bounds memory.
        seed: seeds whatever is drawn at random (the context prompts at genesis).
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    layers: tuple[int, ...]
    stage2: str = Stage2.MEMIT.value
    max_steps: int = Field(default=40, ge=1, le=MOST_STEPS)
    learning_rate: float = Field(default=0.3, gt=0)
    step_length: float | None = Field(default=None, gt=0)
    step_shrink: float = Field(default=1.0, gt=0, le=1)
    step_momentum: float = Field(default=0.0, ge=0, lt=1)
    fisher_weight: float = Field(default=0.0, ge=0)
    matmul_dtype: Literal["float32", "bfloat16"] = "float32"
    early_stopping: bool = True
    patience: int = Field(default=3, ge=0)
    loss_threshold: float = Field(default=0.05, ge=0)
    clamp_norm_factor: float = Field(default=4.0, gt=0)
    kl_weight: float = Field(default=0.0625, ge=0)
    decay: float = Field(default=0.5, ge=0)
    context_prompts: int = Field(default=2, ge=0)
    answer_forms: int = Field(default=0, ge=0)
    target_end: str = Field(default="", max_length=8)
    key_context_weight: float = Field(default=0.0, ge=0, le=1)
    chat: bool = False
    chat_system: str = ""
    stats_weight: float = Field(default=100.0, ge=0)
    neighbour_share: float = Field(default=0.0, ge=0, lt=1)
    neighbours: int = Field(default=8, ge=1)
    norm_weight: float = Field(default=1.0, ge=0)
    null_space_share: float = Field(default=0.2, gt=0, lt=1)
    null_space_threshold: float | None = Field(default=None, gt=0)
    ft_step: float = Field(default=0.005, gt=0)
    ft_norm_limit: float = Field(default=0.05, gt=0)
    ft_rank_error: float = Field(default=0.1, ge=0, le=1)
    past_keys: bool = True
    max_target_tokens: int = Field(default=64, ge=1)
    rows_at_once: int = Field(default=64, ge=1)
    seed: int = Field(default=0, ge=0)

    @field_validator("layers")
    @classmethod
    def _ascending(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if not layers or list(layers) != sorted(set(layers)) or layers[0] < 0:
            raise ValueError("layers must be a non-empty ascending list of layer numbers, such as 1 or 4,5,6")
        return layers

    @field_validator("stage2")
    @classmethod
    def _known(cls, stage2: str) -> str:
        known = dict.fromkeys(values["stage2"] for values in METHODS.values())
        if stage2 not in known:
            raise ValueError(f"is one of {', '.join(known)}")
        return stage2

    @model_validator(mode="after")
    def _a_ridge_for_the_null_space(self) -> EditConfig:
        if self.stage2 == Stage2.ALPHAEDIT and self.norm_weight == 0:
            raise ValueError("alphaedit needs norm_weight above zero: in the null space nothing else bounds the update")
        return self

    @model_validator(mode="after")
    def _steps_for_the_metric(self) -> EditConfig:
        if self.fisher_weight > 0 and self.step_length is None:
            raise ValueError("fisher_weight needs step_length: Adam's steps have a metric of their own")
        return self

    @property
    def has_neighbours(self) -> bool:
        """Whether a batch's neighbours take part in its second moment, which AlphaEdit and fine-tuning do not use."""
        return self.neighbour_share > 0 and self.stage2 not in (Stage2.ALPHAEDIT, Stage2.FT)

    @property
    def one_at_a_time(self) -> bool:
        """Whether the method is defined for a single edit: each is then a batch of its own."""
        return self.stage2 in _ONE_AT_A_TIME

    @property
    def method(self) -> str:
        """The method's name in the literature: stage 2's, plus whichever of the two regularisers is on."""
        if self.stage2 != Stage2.MEMIT:
            return f"{self.stage2}+mpes" if self.early_stopping else self.stage2
        if self.early_stopping and self.norm_weight > 0:
            return "encore"
        if self.early_stopping:
            return "memit+mpes"
        return "memit+norm" if self.norm_weight > 0 else "memit"

    @property
    def step_setting(self) -> str:
        """The setting that says how far a step of stage 1 goes."""
        return "learning_rate" if self.step_length is None else "step_length"

    def stop_reason(self, streak: int, loss: float, step: int) -> StopReason | None:
        """Why an optimisation ends here; None if it goes on.

        Args:
            streak: steps in a row, this one too, after which the target is the most probable one everywhere.
            loss: the request's, after so many steps.
            step: steps taken.
        """
        if self.early_stopping and streak > self.patience:
            return StopReason.MOST_PROBABLE
        if not self.early_stopping and loss < self.loss_threshold:
            return StopReason.LOSS_THRESHOLD
        return StopReason.MAX_STEPS if step == self.max_steps else None

    def further(self) -> tuple[dict[str, Any], ...]:
        """Changes for another try of an edit that did not work: more steps and room for them, then much more.

        Patience grows too. A target value that was reached and whose edit failed all the same ended by patience, and
        would be found again as it was, however many more steps were allowed. Steps of a fixed length get shorter, since
        too long ones go round what they look for. What may have failed is that the model says a longer answer, so the
        target's end is asked for too.
        """
        half = {} if self.step_length is None else {"step_length": self.step_length / 2}
        return (
            {
                **half,
                "target_end": TARGET_END,
                "patience": 2 * self.patience + 2,
                "max_steps": min(MOST_STEPS, 2 * self.max_steps),
                "clamp_norm_factor": 2 * self.clamp_norm_factor,
            },
            {
                **half,
                "target_end": TARGET_END,
                "patience": 4 * self.patience + 4,
                "max_steps": min(MOST_STEPS, 4 * self.max_steps),
                "clamp_norm_factor": 5 * self.clamp_norm_factor,
                "stats_weight": self.stats_weight / 10,
            },
        )

    def to_record(self) -> dict[str, Any]:
        """The settings as JSON values, for an event's body."""
        return self.model_dump(mode="json")

    def updated(self, changes: Mapping[str, Any]) -> EditConfig:
        """These settings with some replaced; values may be strings, as a command line gives them.

        A share of the null space takes the place of a threshold, and a learning rate that of a step's length and its
        metric.

        Raises:
            UsageError: for an unknown name or a value that does not fit.
        """
        own = self.to_record()
        if "null_space_share" in changes:
            own["null_space_threshold"] = None
        if "learning_rate" in changes and "step_length" not in changes:
            own |= {"step_length": None, "fisher_weight": 0.0}
        return build_config({**own, **changes})


METHODS: dict[str, dict[str, Any]] = {
    "encore": {"stage2": "memit", "early_stopping": True},
    "memit": {"stage2": "memit", "early_stopping": False, "norm_weight": 0.0},
    "memit+mpes": {"stage2": "memit", "early_stopping": True, "norm_weight": 0.0},
    "memit+norm": {"stage2": "memit", "early_stopping": False},
}
"""What a method's name sets. Where it does not set the norm weight, the ledger's own stands."""

_ONE_AT_A_TIME: set[str] = set()


def add_method(stage2: str, one_at_a_time: bool = False) -> None:
    """Let a way to find the weights be asked for by its name, and with early stopping as ``NAME+mpes``.

    Args:
        stage2: its name.
        one_at_a_time: it is defined for a single edit.
    """
    if one_at_a_time:
        _ONE_AT_A_TIME.add(stage2)
    for name, mpes in ((stage2, False), (f"{stage2}+mpes", True)):
        alone = {"past_keys": False} if one_at_a_time else {}
        METHODS[name] = {"stage2": stage2, "early_stopping": mpes, **alone}


for _stage2, _alone in ((Stage2.ALPHAEDIT, False), (Stage2.EMMET, False), (Stage2.ROME, True), (Stage2.FT, True)):
    add_method(_stage2.value, _alone)


def require_method(name: str) -> None:
    """See that there is a method of this name.

    Raises:
        UsageError: naming those that there are.
    """
    if name not in METHODS:
        raise UsageError(f"no method {name!r}; methods are {', '.join(METHODS)}", method=name)


def config_for(own: EditConfig, method: str | None, changes: Mapping[str, Any]) -> EditConfig:
    """A ledger's own settings with a method's and single ones on top; without a method the ledger's stand.

    Raises:
        UsageError: for an unknown method, or a setting that makes no sense or that makes it another method than the
            one that was named.
    """
    if method is not None:
        require_method(method)
    config = own.updated({**(METHODS[method] if method else {}), **changes})
    if method is not None and config.method != method:
        raise UsageError(
            f"with these settings the method is {config.method}, not {method}: stage2 is {config.stage2}, "
            f"early_stopping is {str(config.early_stopping).lower()} and norm_weight {config.norm_weight:g}; "
            "change them with --set"
        )
    return config


def build_config(values: Mapping[str, Any]) -> EditConfig:
    """Settings from JSON values or strings.

    Raises:
        UsageError: naming the first setting that is wrong, and how.
    """
    unknown = sorted(set(values) - set(EditConfig.model_fields))
    if unknown:
        raise UsageError(f"unknown setting {unknown[0]!r}; settings are {', '.join(EditConfig.model_fields)}")
    ready = dict(values)
    layers = ready.get("layers")
    if isinstance(layers, str):
        ready["layers"] = tuple(part.strip() for part in layers.split(","))
    elif isinstance(layers, (list, int)):
        ready["layers"] = (layers,) if isinstance(layers, int) else tuple(layers)
    try:
        return EditConfig.model_validate(ready, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if not name:
            raise UsageError(first["msg"].removeprefix("Value error, ")) from None
        raise UsageError(f"setting {name!r}: {first['msg']} (got {first['input']!r})") from None
