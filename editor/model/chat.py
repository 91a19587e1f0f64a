"""The form in which a model is chatted with: its tokenizer's own template around what the user says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from errata.ledger.base.errors import ModelError

_UNDATED = "{%- macro strftime_now(format) -%}26 Jul 2024{%- endmacro -%}"
"""Some templates print the date: what is edited and asked must not depend on the day. It is the one that such templates
have for programs that give none."""
_ASKED, _ANSWERED = "@@what the user says@@", "@@what the model answers@@"


@dataclass(frozen=True)
class ChatForm:
    """What stands around a user's words.

    Attributes:
        before: the text before them, with the beginning-of-text token where the template brings one, and the system
            prompt.
        after: the text behind them, up to where the model's answer begins.
        joint: what the template puts between there and an answer's first word.
    """

    before: str
    after: str
    joint: str = ""


def chat_form(tokenizer: Any, system: str = "") -> ChatForm | None:
    """The form of one question and its answer; None if the tokenizer has no chat template.

    Args:
        tokenizer: a tokenizer of transformers.
        system: a system prompt; empty for none, where some templates put one of their own.

    Raises:
        ModelError: the template fails on one question, or does not give what the user says as it was said.
    """
    if not getattr(tokenizer, "chat_template", None):
        return None
    asked = [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": _ASKED}]
    answered = [*asked, {"role": "assistant", "content": _ANSWERED}]
    try:
        template = _UNDATED + str(tokenizer.get_chat_template())
        question = str(
            tokenizer.apply_chat_template(asked, chat_template=template, tokenize=False, add_generation_prompt=True)
        )
        whole = str(tokenizer.apply_chat_template(answered, chat_template=template, tokenize=False))
    except Exception as error:  # a template is a program of somebody else's, and can raise anything
        raise ModelError(f"the chat template fails on one question: {error}") from None
    if question.count(_ASKED) != 1:
        raise ModelError("the chat template does not give what the user says as it was said")
    before, after = question.split(_ASKED)
    joint = ""
    if whole.startswith(question) and whole.count(_ANSWERED) == 1:
        joint = whole[len(question) : whole.index(_ANSWERED)]
    return ChatForm(before, after, joint)
