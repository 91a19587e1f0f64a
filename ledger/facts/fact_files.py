r"""Reading facts from files: our JSONL, and the forms of CounterFact, zsRE, KnowEdit and "The Mirage of Model Editing".

The form is told by a record's own fields, so a file needs no flag:

| form | told by | source |
|---|---|---|
| Errata | `target` | `Fact`'s fields, `locality` and `portability` as lists of `{"prompt", "target"}`, each with an \
`against` if there is a rival answer; `train` as a list of phrasings; `questions` as a list of texts or of \
`{"question", "answer"}`; unknown fields are refused |
| CounterFact | `requested_rewrite` | Meng et al. 2022; `neighborhood_prompts` are probes of `target_true` |
| zsRE | `src` | Levy et al. 2017, as in Mitchell et al. 2022; `alt` is the new answer, `loc`/`loc_ans` a probe; \
`portability` as Yao et al. 2023 added it |
| Mirage | `target_new` | Yang et al. 2025; one `rephrase_prompt`, one `locality_prompt` |
| KnowEdit | `target_new` | Zhang et al. 2024; `locality` and `portability` by kind, each a list of \
`{"prompt", "ground_truth"}` |

Records of all forms may say `"personal": true`: the fact says something of a person, and must be possible to erase.

CounterFact's `attribute_prompts` ask for subjects of which the new object is true already, and test no edit; its
`generation_prompts` are for sampling texts, and are no part of a fact.

Where a record gives full text, `{}` is put in the place of the subject's last occurrence: the text after it is then
free of the subject, and the last occurrence is the one whose last token sees all of the prompt before the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError

from errata.ledger.base.errors import BadRecord, BadRecords
from errata.ledger.base.json_files import as_text, read_bytes, records_of
from errata.ledger.base.records import describe
from errata.ledger.facts.fact import PLACEHOLDER, ChatQuestion, Fact, Probe

Raw = Mapping[str, object]

SUITE_HEAD = {"suite", "metric"}
"""The fields of a suite's first line (`ledger.facts.suites`)."""


def read_facts(path: Path, left_out: list[BadRecord] | None = None) -> list[Fact]:
    """Read a file of facts in any of the five forms, JSONL or one JSON array. See `parse_facts`.

    Raises:
        BadRecord, BadRecords: what is wrong, with the file and the line or record; also for an empty file.
    """
    path = Path(path)
    return parse_facts(read_bytes(path), str(path), left_out)


def parse_facts(data: bytes, file: str, left_out: list[BadRecord] | None = None) -> list[Fact]:
    """The facts that these bytes of a file are.

    Args:
        data: the bytes.
        file: what the file is called in complaints.
        left_out: gets what is wrong with each bad record, which is then left out. Without it a bad record is refused.

    Raises:
        BadRecord: what is wrong with the file or its one bad record, with the file's name and the line or record.
        BadRecords: the same of each bad record, if there are several.
    """
    facts = good_facts(records_of(as_text(data, file), file), file, left_out)
    if not facts:
        raise BadRecord(file, "holds no facts")
    return facts


def good_facts(
    records: Iterable[tuple[str, Raw | Fact | BadRecord]], name: str, left_out: list[BadRecord] | None = None
) -> list[Fact]:
    """The facts among records, each with where it stands. Arguments and errors as of `parse_facts`."""
    facts: list[Fact] = []
    bad: list[BadRecord] = []
    for where, record in records:
        try:
            if isinstance(record, BadRecord):
                raise record
            facts.append(record if isinstance(record, Fact) else fact_from(record, where))
        except BadRecord as error:
            if isinstance(record, Mapping) and set(record) == SUITE_HEAD:
                raise  # not a bad record, but another sort of file
            bad.append(error)
    if left_out is None and bad:
        raise bad[0] if len(bad) == 1 else BadRecords(name, bad, len(facts) + len(bad))
    if bad and not facts:
        raise BadRecord(name, f"all its {len(bad)} records are bad: {bad[0].message}")
    if left_out is not None:
        left_out += bad
    return facts


def is_fact(record: Raw) -> bool:
    """Whether a record is meant to be a fact, in whatever form and however well it is written."""
    return "requested_rewrite" in record or ("subject" in record and any(mark in record for mark in FORMS))


def fact_from(record: Raw, where: str = "") -> Fact:
    """Make a fact from one record of any known form.

    Args:
        record: the record's fields.
        where: where it stands, for messages.

    Raises:
        BadRecord: an unknown form, or a field that is missing or wrong.
    """
    try:
        for mark, form in FORMS.items():
            if mark in record:
                return _marked(form(record), record)
    except ValidationError as error:
        raise BadRecord(where, describe(error)) from error
    except KeyError as error:
        raise BadRecord(where, f"the field {error.args[0]!r} is missing") from error
    except ValueError as error:
        raise BadRecord(where, str(error)) from error
    if set(record) == SUITE_HEAD:
        raise BadRecord(where, "a suite of probes, and this takes facts; `errata eval --suite` scores suites")
    raise BadRecord(where, "not a known form of a fact; Errata's has the fields subject, prompt and target")


def _marked(fact: Fact, record: Raw) -> Fact:
    """The fact, personal if its record says so, whatever its form."""
    personal = record.get("personal", False)
    if not isinstance(personal, bool):
        raise ValueError("personal: must be true or false")
    return fact.model_copy(update={"personal": personal})


def _errata(record: Raw) -> Fact:
    if "sealed" in record:
        raise ValueError("sealed: a sealed fact is what the log holds; a file says the fact itself")
    fields = dict(record)
    fields["paraphrases"] = tuple(_texts(record, "paraphrases")) if "paraphrases" in record else ()
    for name in ("locality", "portability"):
        fields[name] = tuple(_probe(item) for item in _list(record, name)) if name in record else ()
    fields["train"] = tuple(_texts(record, "train")) if "train" in record else ()
    fields["questions"] = tuple(_question(item) for item in _list(record, "questions")) if "questions" in record else ()
    return Fact.model_validate(fields)


def _probe(item: object) -> Probe:
    return item if isinstance(item, Probe) else Probe.model_validate(item)


def _question(item: object) -> ChatQuestion:
    if isinstance(item, ChatQuestion):
        return item
    return ChatQuestion(question=item) if isinstance(item, str) else ChatQuestion.model_validate(item)


def _counterfact(record: Raw) -> Fact:
    rewrite = _object(record, "requested_rewrite")
    old = _text(_object(rewrite, "target_true"), "str")
    return Fact(
        id=_name(record, "case_id"),
        subject=_text(rewrite, "subject").strip(),
        prompt=_text(rewrite, "prompt"),
        target=_text(_object(rewrite, "target_new"), "str"),
        old=old,
        paraphrases=tuple(_texts(record, "paraphrase_prompts")) if "paraphrase_prompts" in record else (),
        locality=tuple(Probe(prompt=text, target=old) for text in _texts(record, "neighborhood_prompts"))
        if "neighborhood_prompts" in record
        else (),
        relation=_name(rewrite, "relation_id"),
    )


def _zsre(record: Raw) -> Fact:
    subject = _text(record, "subject").strip()
    answers = _texts(record, "answers") if record.get("answers") else []
    probes: tuple[Probe, ...] = ()
    if record.get("loc") and record.get("loc_ans"):
        probes = (Probe(prompt=_text(record, "loc").removeprefix("nq question: "), target=_text(record, "loc_ans")),)
    if not answers and not record.get("alt"):
        raise ValueError("neither alt nor answers says what the new target is")
    return Fact(
        id=_name(record, "case_id"),
        subject=subject,
        prompt=_with_placeholder(_text(record, "src"), subject),
        target=_text(record, "alt") if record.get("alt") else answers[0],
        old=_text(record, "pred") if record.get("pred") else None,
        paraphrases=(_text(record, "rephrase"),) if record.get("rephrase") else (),
        locality=probes,
        portability=_zsre_portability(record),
    )


def _zsre_portability(record: Raw) -> tuple[Probe, ...]:
    """One question whose answer follows from the new fact, as Yao et al. (2023) added it to zsRE."""
    if not record.get("portability"):
        return ()
    asked = _object(record, "portability")
    return (Probe(prompt=_text(asked, "New Question"), target=_text(asked, "New Answer")),)


def _mirage(record: Raw) -> Fact:
    subject = _text(record, "subject").strip()
    probes = _by_kind(record, "locality")
    if record.get("locality_prompt"):
        probes += (Probe(prompt=_text(record, "locality_prompt"), target=_text(record, "locality_ground_truth")),)
    return Fact(
        id=_name(record, "case_id"),
        subject=subject,
        prompt=_with_placeholder(_text(record, "prompt"), subject),
        target=_text(record, "target_new"),
        old=_first(record, "ground_truth") if record.get("ground_truth") else None,
        paraphrases=_one_or_more(record, "rephrase_prompt" if record.get("rephrase_prompt") else "rephrase"),
        locality=probes,
        portability=_by_kind(record, "portability"),
    )


def _by_kind(record: Raw, key: str) -> tuple[Probe, ...]:
    """KnowEdit's probes: an object with a list of probes for each kind of them, some of which may be empty."""
    if not record.get(key):
        return ()
    kinds = _object(record, key)
    probes = []
    for kind in kinds:
        for item in _list(kinds, kind):
            if not isinstance(item, dict):
                raise ValueError(f"{key}.{kind}: must be a list of objects")
            probes.append(Probe(prompt=_text(item, "prompt"), target=_first(item, "ground_truth")))
    return tuple(probes)


def _one_or_more(record: Raw, key: str) -> tuple[str, ...]:
    value = record.get(key)
    if not value:
        return ()
    return (value,) if isinstance(value, str) else tuple(_texts(record, key))


def _first(record: Raw, key: str) -> str:
    """A text, or the first of several accepted ones, which may themselves be lists of spellings."""
    value = record[key]
    while isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, str):
        raise ValueError(f"{key}: must be a text or a list of texts")
    return value


FORMS: Mapping[str, Callable[[Raw], Fact]] = {
    "requested_rewrite": _counterfact,
    "src": _zsre,
    "target_new": _mirage,
    "target": _errata,
}
"""The field that gives a form away -> how to read it."""


def _with_placeholder(text: str, subject: str) -> str:
    if not subject:
        raise ValueError("subject: must not be empty")
    if text.count(PLACEHOLDER) == 1:
        return text
    before, found, after = text.rpartition(subject)
    if not found:
        raise ValueError(f"the subject {subject!r} is not in the prompt {text!r}")
    return before + PLACEHOLDER + after


def _text(record: Raw, key: str) -> str:
    value = record[key]
    if not isinstance(value, str):
        raise ValueError(f"{key}: must be a text")
    return value


def _list(record: Raw, key: str) -> list[object]:
    value = record[key]
    if not isinstance(value, list | tuple):
        raise ValueError(f"{key}: must be a list")
    return list(value)


def _texts(record: Raw, key: str) -> list[str]:
    texts = [item for item in _list(record, key) if isinstance(item, str)]
    if len(texts) != len(_list(record, key)):
        raise ValueError(f"{key}: must be a list of texts")
    return texts


def _object(record: Raw, key: str) -> Raw:
    value = record[key]
    if not isinstance(value, dict):
        raise ValueError(f"{key}: must be an object")
    return value


def _name(record: Raw, key: str) -> str | None:
    value = record.get(key)
    return None if value is None else str(value)
