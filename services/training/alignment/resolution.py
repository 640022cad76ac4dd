"""From a request to an alignment that can be done: is everything there, does it fit, and do the judges judge?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from services.adapters.diffusion_folder import load_text_encoder
from services.adapters.learned import read_learned
from services.adapters.ledger import Ledger
from services.adapters.object_store import open_object_store
from services.adapters.weights import DirectoryRegistry, ModelRecord
from services.errors import FailedPrecondition, InvalidInput, OutOfRange
from services.maths.fairness.generator_bias import MINIMUM_PROMPTS
from services.maths.phantoms.captions import parse
from services.maths.phantoms.prompt_grids import prompt_grid
from services.maths.phantoms.worlds import Kind
from services.training.cohorts import find_manifest, refuse_synthetic
from services.training.examples import TRAINING, VALIDATION, phantom_names
from services.training.networks import find_model, pin_of
from services.training.recipes import MODALITIES, RECIPES
from services.training.runs import AlignmentRun, own_run
from services.training.settings import Settings
from services.training.tuning import Alignment, AskedAlignment, AskedShares, Shares


def resolve_alignment(asked: AskedAlignment, seed: int, ledger: Ledger, settings: Settings) -> AlignmentRun:
    """Find what the request names and check that it fits, before anything is computed.

    Raises NotFound MODEL_NOT_FOUND, InvalidInput (TASK_MISMATCH, CLASSIFIER_MISMATCH, LEVEL_UNKNOWN, ENCODER_MISSING,
    PROMPTS_MISSING, PROMPTS_OVERLAP, PROMPT_NAMES_ATTRIBUTE, PROMPT_TOO_LONG), OutOfRange, and FailedPrecondition
    CLASSIFIERS_OVERLAP, each with the field.
    """
    roots = (settings.models, *settings.registries)
    registry = DirectoryRegistry(roots)
    base = find_model(registry, asked.base, asked.base_version, "base")
    if base.task != "text-to-image" or base.backend != "torch":
        raise InvalidInput(
            f"{base.name} does {base.task}; a text-to-image model is aligned", field="base", reason="TASK_MISMATCH"
        )
    found = [_shares(registry, one, base, f"alignment.shares[{index}]") for index, one in enumerate(asked.shares)]
    shares = tuple(
        _of_cohort(asked, one, ledger, settings, f"alignment.shares[{index}].cohort") if one.cohort else one
        for index, one in enumerate(found)
    )
    prompts, test_prompts = _prompts(asked, base, shares)
    text = load_text_encoder(registry.folder(base))
    for at, some in (("alignment.prompts", prompts), ("alignment.test_prompts", test_prompts)):
        text.tokens(some, field=at)
        _leave_open(some, shares, at)
    if asked.batches.prompts > len(prompts):
        raise OutOfRange(
            f"a batch of {asked.batches.prompts} prompts needs as many; there are {len(prompts)}",
            field="alignment.batch_prompts",
        )
    aligned = Alignment(
        pin_of(base),
        shares,
        pin_of(_encoder(registry, asked, base)),
        prompts,
        test_prompts,
        tuple(map(str, roots)),
        settings.store,
        asked.joint,
        asked.threshold,
        asked.preservation,
        asked.flipped_weight,
        asked.holding,
        asked.adapter,
        asked.batches,
    )
    return AlignmentRun(aligned, seed)


def _shares(registry: DirectoryRegistry, asked: AskedShares, base: ModelRecord, at: str) -> Shares:
    guide = _classifier(
        registry, (asked.classifier, asked.classifier_version), base, asked.attribute, f"{at}.classifier"
    )
    unknown = sorted(set(asked.target) - set(guide.labels))
    if unknown:
        raise InvalidInput(
            f"{guide.name} has no level {unknown[0]!r} of {asked.attribute}; it has {', '.join(guide.labels)}",
            field=f"{at}.target",
            reason="LEVEL_UNKNOWN",
        )
    equal = 1.0 / len(guide.labels)
    target = tuple(asked.target.get(level, 0.0) if asked.target else equal for level in guide.labels)
    told = Shares(asked.attribute, pin_of(guide), guide.labels, () if asked.cohort else target, cohort=asked.cohort)
    if not asked.judge:
        return told
    judge = _classifier(registry, (asked.judge, asked.judge_version), base, asked.attribute, f"{at}.judge")
    if judge.labels != guide.labels:
        raise InvalidInput(
            f"{judge.name} knows {', '.join(judge.labels)}, {guide.name} {', '.join(guide.labels)}, in that order",
            field=f"{at}.judge",
            reason="CLASSIFIER_MISMATCH",
        )
    _keep_apart(registry, guide, judge, f"{at}.judge")
    return replace(told, judge=pin_of(judge))


def _of_cohort(asked: AskedAlignment, shares: Shares, ledger: Ledger, settings: Settings, at: str) -> Shares:
    """The shares with the cohort's manifest, which has enough images and one attribute for each."""
    if asked.joint:
        raise InvalidInput("a cohort's outputs are of one attribute; a joint alignment needs shares", field=at)
    key, manifest = find_manifest(ledger, open_object_store(settings.store), shares.cohort, at)
    refuse_synthetic(manifest, shares.cohort, at, "targets are the shares of patients, so name a cohort of theirs")
    if manifest["records"] < asked.batches.images:
        raise InvalidInput(
            f"{shares.cohort} has {manifest['records']} images, fewer than the {asked.batches.images} of each prompt",
            field=at,
            reason="COHORT_TOO_SMALL",
        )
    return replace(shares, manifest_key=key)


def _classifier(
    registry: DirectoryRegistry, named: tuple[str, str], base: ModelRecord, attribute: str, at: str
) -> ModelRecord:
    found = find_model(registry, *named, at)
    wanted, made = found.input, base.output
    assert made is not None
    fits = (wanted.channels, wanted.height, wanted.width) == (made.channels, made.height, made.width)
    same_organ = not base.modality or found.modality == base.modality
    if found.task != "attribute-classification" or found.label_column != attribute or not (fits and same_organ):
        raise InvalidInput(
            f"{found.name} does not tell {attribute!r} in what {base.name} draws; it does {found.task} of "
            f"{found.label_column or 'labels'} in a {found.modality or 'picture'}",
            field=at,
            reason="CLASSIFIER_MISMATCH",
        )
    return found


def _keep_apart(registry: DirectoryRegistry, guide: ModelRecord, judge: ModelRecord, at: str) -> None:
    """A judge who learned from the guide's patients shares its mistakes."""
    shared = _shared_patients(registry, guide, judge)
    if guide.digest == judge.digest or shared:
        raise FailedPrecondition(
            f"{judge.name} is {guide.name} itself"
            if guide.digest == judge.digest
            else f"{judge.name} learned from {shared} patients of {guide.name}; another's verdict is needed",
            field=at,
            reason="CLASSIFIERS_OVERLAP",
            details={"patients": str(shared)},
        )


def _shared_patients(registry: DirectoryRegistry, guide: ModelRecord, judge: ModelRecord) -> int:
    """Patients that both learned from, as far as it can be known: phantoms by name, others under the same salt."""
    of_guide, of_judge = (read_learned(registry.learned_from(record)) for record in (guide, judge))
    names = _phantoms(guide)
    if names:
        return len({patient for one in of_judge for patient in one.shared(names)})
    both = [set(one.hashes) & set(other.hashes) for one in of_guide for other in of_judge if one.salt == other.salt]
    return sum(map(len, both))


def _phantoms(record: ModelRecord) -> set[str]:
    """Training and validation patients of a model that a recipe made of phantoms, else none."""
    recipe = RECIPES.get(str(record.training.get("recipe", "")))
    if recipe is None or "data" in record.training:
        return set()
    run = own_run(recipe)
    seed, patients = int(record.training["seed"]), int(record.training["patients"])
    return phantom_names(recipe.kind, {TRAINING: patients, VALIDATION: run.others}, seed)


def _encoder(registry: DirectoryRegistry, asked: AskedAlignment, base: ModelRecord) -> ModelRecord:
    at = "alignment.encoder"
    assert base.output is not None
    if asked.encoder:
        found = find_model(registry, asked.encoder, asked.encoder_version, at)
        if found.task != "image-embedding" or found.input.spec() != base.output.spec():
            raise InvalidInput(f"{found.name} does not embed what {base.name} draws", field=at, reason="TASK_MISMATCH")
        return found
    fitting = {
        record.name
        for record in registry.models()
        if record.task == "image-embedding" and record.input.spec() == base.output.spec()
    }
    if len(fitting) != 1:
        raise InvalidInput(
            f"name the encoder that likeness is measured with; there are: {', '.join(sorted(fitting)) or 'none'}",
            field=at,
            reason="ENCODER_MISSING",
        )
    return registry.find(fitting.pop())


def _prompts(
    asked: AskedAlignment, base: ModelRecord, shares: Sequence[Shares]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    prompts, test_prompts = asked.prompts, asked.test_prompts
    if not (prompts and test_prompts):
        training, test = _phantom_prompts(base, shares)
        prompts, test_prompts = prompts or training, test_prompts or test
    if len(test_prompts) < MINIMUM_PROMPTS:
        raise InvalidInput(
            f"{MINIMUM_PROMPTS} test prompts or more are needed, to know how much prompts differ",
            field="alignment.test_prompts",
            reason="PROMPTS_MISSING",
        )
    both = set(prompts) & set(test_prompts)
    if both:
        raise InvalidInput(
            f"{len(both)} prompts are in both lists; whoever tunes on a prompt is not judged on it",
            field="alignment.test_prompts",
            reason="PROMPTS_OVERLAP",
        )
    return prompts, test_prompts


def _phantom_prompts(base: ModelRecord, shares: Sequence[Shares]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    kind = next((kind for kind, modality in MODALITIES.items() if modality == base.modality), None)
    try:
        if kind is None or len(shares) != 1:
            raise ValueError("there are lists of prompts for one attribute of a phantom's modality")
        training, test = prompt_grid(cast("Kind", kind), shares[0].attribute)
    except ValueError as error:
        raise InvalidInput(
            f"name the prompts to tune and to judge on: {error}", field="alignment.prompts", reason="PROMPTS_MISSING"
        ) from error
    return tuple(one.text for one in training), tuple(one.text for one in test)


def _leave_open(prompts: Sequence[str], shares: Sequence[Shares], at: str) -> None:
    """A prompt that says "Female" asks for women; it cannot also have half of them."""
    for index, prompt in enumerate(prompts):
        for one in shares:
            words = "|".join(re.escape(level) for level in one.levels)
            if re.search(rf"(?<!\w)({words})(?!\w)", prompt, re.IGNORECASE) or one.attribute in _named(prompt):
                raise InvalidInput(
                    f"the prompt names the {one.attribute}, which is to be left open",
                    field=f"{at}[{index}]",
                    reason="PROMPT_NAMES_ATTRIBUTE",
                )


def _named(prompt: str) -> dict[str, str]:
    """The attributes that a phantom's caption names; none of other texts."""
    try:
        return parse(prompt)[1]
    except ValueError:
        return {}
